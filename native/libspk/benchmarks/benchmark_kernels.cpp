// Billions of multiply-accumulates per second and thread, of every form of an instruction set:
//
//     spk-benchmark-kernels SET [LEVELS [NONZERO [BITS]]]
//
// Counts up to LEVELS (4), of which a share NONZERO (0.35) is not zero; weights of BITS (8). Times
// are the least of several runs, in CPU time of the one thread; beside them stands what the form
// expects of itself.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/instruction_sets.hpp"
#include "error.hpp"
#include "tests/random_maps.hpp"

namespace spk::tests {
namespace {

struct Layer {
    int32_t inputs, outputs, side, stride, size;  // of the output
    int32_t groups = 1;
};

const Layer kLayers[] = {
    {32, 128, 3, 1, 112}, {128, 32, 3, 1, 112}, {64, 256, 3, 1, 56},  {256, 64, 3, 1, 56},
    {128, 512, 3, 1, 28}, {512, 128, 3, 1, 28}, {64, 128, 3, 2, 56},  {64, 128, 1, 1, 112},
    {128, 64, 1, 1, 112}, {256, 256, 1, 1, 14}, {256, 1024, 1, 1, 14}, {1024, 256, 1, 1, 14},
    {360, 1440, 1, 1, 14}, {1440, 360, 1, 1, 14}, {512, 1000, 1, 1, 1}, {64, 64, 7, 1, 112, 64},
    {128, 128, 7, 1, 56, 128}, {64, 64, 3, 1, 112, 64}, {3, 32, 7, 2, 112}};

double thread_milliseconds() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return double(time.tv_sec) * 1e3 + double(time.tv_nsec) * 1e-6;
}

struct Counts {
    int32_t levels;
    double nonzero;
    int32_t bits;
};

void measure(const InstructionSet& set, const Layer& layer, const Counts& counts) {
    Random random(1);
    const bool image = layer.inputs == 3;
    const int32_t padding = layer.side / 2;
    Convolution shape;
    shape.outputs = layer.outputs;
    shape.inputs = layer.inputs;
    shape.side = layer.side;
    shape.stride = layer.stride;
    shape.padding = padding;
    shape.groups = layer.groups;
    shape.zero = image ? 128 : 0;
    shape.lowest = image ? -128 : 0;
    shape.highest = image ? 127 : counts.levels;
    shape.images = 1;
    shape.height = shape.width = layer.size;
    shape.threads = 1;
    const int64_t products_of_output =
        int64_t(layer.inputs / layer.groups) * layer.side * layer.side;
    std::vector<int8_t> weight(size_t(layer.outputs * products_of_output));
    std::mt19937 engine(1);
    const double bound = (1 << (counts.bits - 1)) - 1;
    std::normal_distribution<double> normal(0.0, bound / 3.5);
    for (int8_t& value : weight) {
        value = int8_t(std::lround(std::clamp(normal(engine), -bound, bound)));
    }
    shape.weight = weight.data();
    OwnedCounts from = make_counts(
        1, layer.inputs, layer.size * layer.stride, layer.size * layer.stride, padding, shape.zero);
    fill(from, image ? -128 : 1, shape.highest, image ? 1.0 : counts.nonzero, random);

    OwnedCounts to = make_counts(1, layer.outputs, layer.size, layer.size, 1, 0);
    const int32_t stride = round_up(layer.outputs, kCurrentLanes);
    AlignedArray<int32_t> below(size_t(counts.levels) * stride);
    for (size_t i = 0; i < below.size(); ++i) below[i] = int32_t(100 * (1 + i / stride));
    Firing firing;
    firing.levels = counts.levels;
    firing.below = below.data();
    firing.to = to.map;
    Epilogue epilogue;
    epilogue.channels = layer.outputs;
    epilogue.stages = {{nullptr, nullptr, {firing}}};

    const double products = double(layer.size) * layer.size * layer.outputs * products_of_output;
    std::printf("%4d->%-4d %dx%d/%d @%-3d", layer.inputs, layer.outputs, layer.side, layer.side,
                layer.stride, layer.size);
    Threads threads(1);
    for (const SynapseForm& form : set.synapses) {
        const double begun = thread_milliseconds();
        const std::unique_ptr<SynapseKernel> kernel = form.make(shape);
        if (!kernel) continue;
        const double made = thread_milliseconds() - begun;
        double least = 1e9, spent = 0;
        for (int run = 0; run < 60 && spent < 150; ++run) {
            const double start = thread_milliseconds();
            kernel->run(from.map, epilogue, threads);
            const double took = thread_milliseconds() - start;
            least = std::min(least, took);
            spent += took;
        }
        std::printf(" | %s %.3f ms %.1f, expects %.3f, made in %.2f ms", form.name, least,
                    products / least / 1e6, kernel->cost(counts.nonzero) / 1e3, made);
    }
    std::printf("\n");
}

}  // namespace
}  // namespace spk::tests

int main(int count, char** arguments) {
    const char* name = count > 1 ? arguments[1] : "";
    const spk::tests::Counts counts = {count > 2 ? std::atoi(arguments[2]) : 4,
                                       count > 3 ? std::atof(arguments[3]) : 0.35,
                                       count > 4 ? std::atoi(arguments[4]) : 8};
    try {
        const spk::InstructionSet& set = spk::instruction_set(name);
        for (const spk::tests::Layer& layer : spk::tests::kLayers) {
            spk::tests::measure(set, layer, counts);
        }
    } catch (const spk::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
