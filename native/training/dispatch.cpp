// The functions that Python calls: which instruction set, how many threads.
//
// Threads are those of PyTorch: Python hands over the entry of the OpenMP library that PyTorch has
// loaded, so that no second pool competes for the cores.

#include <algorithm>
#include <cmath>
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
    // All of these have the conversions of half precision, which Clang cannot be asked about.
    if (allows("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2_kernels;
#endif
    return &portable_kernels;
}

const Kernels& kernels() {
    static const Kernels* const chosen = choose_kernels();
    return *chosen;
}

constexpr int64_t kLine = 64;
// Rows whose sums are made by one thread at a time: the result is the same with any threads.
constexpr int64_t kRows = 64;
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

// Calls `work(part, begin, end)` for parts of `size` of `count` items each.
template <class Work>
void over_parts(int64_t count, int64_t size, int64_t elements, int threads, const Work& work) {
    const int64_t parts = (count + size - 1) / size;
    in_parallel(parts * kLine, elements, threads, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin / kLine; part < end / kLine; ++part)
            work(part, part * size, std::min(count, (part + 1) * size));
    });
}

template <class C>
void set_affine(const NormCall& call, const std::vector<double>& means,
                const std::vector<double>& squares, int64_t parts) {
    const int64_t channels = call.channels;
    const double count = double(call.rows) * call.rule->steps;
    const auto* weight = static_cast<const C*>(call.weight);
    const auto* bias = static_cast<const C*>(call.bias);
    auto *running_mean = static_cast<C*>(call.running_mean),
         *running_var = static_cast<C*>(call.running_var);
    for (int64_t c = 0; c < channels; ++c) {
        double mean, variance;
        if (call.by_batch) {
            double sum = 0.0, square = 0.0;
            mean = 0.0;
            for (int64_t part = 0; part < parts; ++part) {
                const double n = std::min(double(kRows), count - double(part * kRows));
                const double apart = means[size_t(part * channels + c)] - mean;
                square += squares[size_t(part * channels + c)] + apart * apart * sum * n / (sum + n);
                mean += apart * n / (sum + n);
                sum += n;
            }
            variance = square / count;
            if (running_mean) {
                const double unbiased = square / (count - 1);
                running_mean[c] += C(call.momentum * (mean - double(running_mean[c])));
                running_var[c] += C(call.momentum * (unbiased - double(running_var[c])));
            }
        } else {
            mean = double(running_mean[c]);
            variance = double(running_var[c]);
        }
        const double inverse = 1.0 / std::sqrt(variance + call.eps);
        const double gain = (weight ? double(weight[c]) : 1.0) * inverse;
        static_cast<C*>(call.mean)[c] = C(mean);
        static_cast<C*>(call.inverse_deviation)[c] = C(inverse);
        static_cast<C*>(call.gain)[c] = C(gain);
        static_cast<C*>(call.shift)[c] = C((bias ? double(bias[c]) : 0.0) - mean * gain);
    }
}

template <class C>
void set_gradients(const NormCall& call, const std::vector<double>& sums,
                   const std::vector<double>& products, int64_t parts) {
    const double count = double(call.rows) * call.rule->steps;
    for (int64_t c = 0; c < call.channels; ++c) {
        double sum = 0.0, product = 0.0;
        for (int64_t part = 0; part < parts; ++part) {
            sum += sums[size_t(part * call.channels + c)];
            product += products[size_t(part * call.channels + c)];
        }
        const double inverse = double(static_cast<C*>(call.inverse_deviation)[c]);
        const double mean = double(static_cast<C*>(call.mean)[c]);
        const double gain = double(static_cast<C*>(call.gain)[c]);
        static_cast<C*>(call.grad_bias)[c] = C(sum);
        static_cast<C*>(call.grad_weight)[c] = C(product * inverse);
        const double tilt = call.by_batch ? -gain * inverse * inverse * product / count : 0.0;
        const double constant = call.by_batch ? -gain * sum / count - tilt * mean : 0.0;
        static_cast<C*>(call.tilt)[c] = C(tilt);
        static_cast<C*>(call.constant)[c] = C(constant);
    }
}

}  // namespace

// Changes with every change of the functions or structs below.
SPIKESIGHT_EXPORT int32_t spikesight_interface() { return 3; }

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

namespace {

// What both passes want to know of a normalisation's input.
struct NormSizes {
    int64_t channels, rows, elements, parts;
    explicit NormSizes(const NormCall& call)
        : channels(call.channels),
          rows(call.rows * call.rule->steps),
          elements(rows * channels),
          parts((rows + kRows - 1) / kRows) {}
};

void find_affine(const NormCall& call, int32_t threads) {
    const NormSizes size(call);
    const int64_t parts = call.by_batch ? size.parts : 0;
    std::vector<double> means(size_t(parts * size.channels)), squares(means.size());
    if (call.by_batch)
        over_parts(size.rows, kRows, size.elements, threads,
                   [&](int64_t part, int64_t begin, int64_t end) {
                       kernels().norm_sum_rows(call, begin, end,
                                               &means[size_t(part * size.channels)],
                                               &squares[size_t(part * size.channels)]);
                   });
    if (call.storage == kFloat64)
        set_affine<double>(call, means, squares, parts);
    else
        set_affine<float>(call, means, squares, parts);
}

void finish_gradients(const NormCall& call, const std::vector<double>& sums,
                      const std::vector<double>& products, int64_t parts, int32_t threads) {
    const NormSizes size(call);
    if (call.storage == kFloat64)
        set_gradients<double>(call, sums, products, parts);
    else
        set_gradients<float>(call, sums, products, parts);
    over_parts(size.rows, 256, size.elements, threads, [&](int64_t, int64_t begin, int64_t end) {
        kernels().norm_finish(call, begin, end, false);
    });
}

}  // namespace

// Reads input, weight, bias and the running statistics, by_batch or not; writes output, mean,
// inverse_deviation, gain, shift and the running statistics.
SPIKESIGHT_EXPORT void spikesight_norm_forward(const NormCall* call, int32_t threads) {
    const NormSizes size(*call);
    find_affine(*call, threads);
    const bool streaming =
        streams(call->output, call->rows * size.channels, call->rule->steps, call->storage);
    over_parts(call->rows, 256, size.elements, threads, [&](int64_t, int64_t begin, int64_t end) {
        kernels().norm_forward(*call, begin, end, streaming);
    });
}

// Reads input, grad_output and what the forward pass wrote but its output; writes grad_input,
// grad_weight, grad_bias, tilt and constant.
SPIKESIGHT_EXPORT void spikesight_norm_backward(const NormCall* call, int32_t threads) {
    const NormSizes size(*call);
    const int64_t parts = (call->rows + kRows - 1) / kRows;
    std::vector<double> sums(size_t(parts * size.channels)), products(sums.size());
    over_parts(call->rows, kRows, size.elements, threads,
               [&](int64_t part, int64_t begin, int64_t end) {
                   kernels().norm_backward(*call, begin, end, &sums[size_t(part * size.channels)],
                                           &products[size_t(part * size.channels)]);
               });
    finish_gradients(*call, sums, products, parts, threads);
}

// Writes output and index and, where there is a gain to be found, what `spikesight_norm_forward`
// writes.
SPIKESIGHT_EXPORT void spikesight_pool_forward(const PoolCall* call, int32_t threads) {
    if (call->norm.gain) find_affine(call->norm, threads);
    const int64_t pixels = call->images * call->height * call->width;
    over_parts(call->images * call->out_height, 1, pixels * call->norm.channels, threads,
               [&](int64_t, int64_t begin, int64_t end) {
                   kernels().pool_forward(*call, begin, end);
               });
}

SPIKESIGHT_EXPORT void spikesight_pool_backward(const PoolCall* call, int32_t threads) {
    const int64_t channels = call->norm.channels, rows = call->images * call->height;
    const int64_t pixels = rows * call->width;
    if (!call->norm.gain) {
        over_parts(rows, 1, pixels * channels, threads, [&](int64_t, int64_t begin, int64_t end) {
            kernels().pool_backward(*call, begin, end, nullptr, nullptr);
        });
        return;
    }
    constexpr int64_t together = 16;
    const int64_t parts = (rows + together - 1) / together;
    std::vector<double> sums(size_t(parts * channels)), products(sums.size());
    over_parts(rows, together, pixels * channels, threads,
               [&](int64_t part, int64_t begin, int64_t end) {
                   kernels().pool_backward(*call, begin, end, &sums[size_t(part * channels)],
                                           &products[size_t(part * channels)]);
               });
    finish_gradients(call->norm, sums, products, parts, threads);
}
