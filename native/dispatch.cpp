// The functions that Python calls: which instruction set, how many threads.
//
// Threads are those of PyTorch: Python hands over the entry of the OpenMP library that PyTorch has
// loaded, so that no second pool competes for the cores.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.hpp"

#define SPIKESIGHT_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Region = void (*)(void (*)(void*), void*, unsigned, unsigned);
using Number = int (*)();
Region start_region = nullptr;
Number thread_number = nullptr, team_size = nullptr;

const Kernels* choose_kernels() {
#if defined(SPIKESIGHT_X86)
    const char* most = std::getenv("SPIKESIGHT_NATIVE");
    const auto allows = [&](const char* name) {
        return !most || !*most || !std::strcmp(most, name) ||
               (!std::strcmp(most, "avx512") && !std::strcmp(name, "avx2"));
    };
    __builtin_cpu_init();
    if (allows("avx512") && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &avx512_kernels;
    if (allows("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c"))
        return &avx2_kernels;
#endif
    return &portable_kernels;
}

const Kernels& kernels() {
    static const Kernels* const chosen = choose_kernels();
    return *chosen;
}

constexpr int64_t kLine = 64;
// Bytes from which a tensor is written past the caches, which could not keep it anyway.
constexpr int64_t kStreamed = int64_t(4) << 20;
// Elements that a further thread must have to do: waking it takes some microseconds.
constexpr int64_t kWorth = int64_t(1) << 14;
// Columns whose gradient of `retain` is summed alone: the sum is the same with any threads.
constexpr int64_t kSummed = 4096;

template <class Work>
void in_parallel(int64_t columns, int64_t elements, int threads, const Work& work) {
    const int64_t useful = std::max<int64_t>(1, elements / kWorth);
    threads = int(std::min<int64_t>(threads, useful));
    if (threads <= 1 || !start_region) {
        work(0, columns);
        return;
    }
    struct Shared {
        const Work& work;
        int64_t columns;
    } shared{work, columns};
    start_region(
        [](void* data) {
            const auto& shared = *static_cast<Shared*>(data);
            const int64_t team = team_size(), number = thread_number();
            const int64_t lines = (shared.columns + kLine - 1) / kLine;
            const int64_t begin = lines * number / team * kLine;
            const int64_t end = std::min(shared.columns, lines * (number + 1) / team * kLine);
            if (begin < end) shared.work(begin, end);
        },
        &shared, unsigned(threads), 0);
}

int64_t bytes_of(int32_t storage) {
    return storage == kFloat64 ? 8 : storage == kFloat32 ? 4 : 2;
}

bool streams(const void* to, int64_t columns, int64_t steps, int32_t storage) {
    const int64_t size = bytes_of(storage);
    return columns * steps * size >= kStreamed && reinterpret_cast<uintptr_t>(to) % kLine == 0 &&
           (steps == 1 || columns * size % kLine == 0);
}

}  // namespace

// Changes with every change of the functions or structs below.
SPIKESIGHT_EXPORT int32_t spikesight_interface() { return 1; }

SPIKESIGHT_EXPORT const char* spikesight_instruction_set() { return kernels().name; }

SPIKESIGHT_EXPORT void spikesight_use_threads(void* region, void* number, void* size) {
    start_region = reinterpret_cast<Region>(region);
    thread_number = reinterpret_cast<Number>(number);
    team_size = reinterpret_cast<Number>(size);
}

SPIKESIGHT_EXPORT void spikesight_neuron_forward(const ForwardCall* call, int32_t threads) {
    const int64_t steps = call->rule->steps, columns = call->columns;
    const bool streaming = streams(call->spikes, columns, steps, call->storage);
    in_parallel(columns, columns * steps, threads, [&](int64_t begin, int64_t end) {
        kernels().neuron_forward(*call, begin, end, streaming);
    });
}

SPIKESIGHT_EXPORT void spikesight_neuron_backward(const BackwardCall* call, int32_t threads,
                                                  double* grad_retain) {
    const int64_t steps = call->rule->steps, columns = call->columns;
    const bool streaming = streams(call->grad_current, columns, steps, call->storage);
    if (!grad_retain) {
        in_parallel(columns, columns * steps, threads, [&](int64_t begin, int64_t end) {
            kernels().neuron_backward(*call, begin, end, streaming, nullptr);
        });
        return;
    }
    const int64_t parts = (columns + kSummed - 1) / kSummed;
    std::vector<double> sums(size_t(parts), 0.0);
    in_parallel(parts * kLine, columns * steps, threads, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin / kLine; part < end / kLine; ++part)
            kernels().neuron_backward(*call, part * kSummed,
                                      std::min(columns, (part + 1) * kSummed), streaming,
                                      &sums[size_t(part)]);
    });
    *grad_retain = 0.0;
    for (double sum : sums) *grad_retain += sum;
}
