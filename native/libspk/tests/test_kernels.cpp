// Every form of an instruction set against sums in 64 bits, at random:
//
//     spk-test-kernels SET CASES SEED
//
// Prints per form how often it ran and how often it could not be proved; fails where an integer
// differs.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "engine/instruction_sets.hpp"
#include "error.hpp"
#include "tests/checked_epilogue.hpp"

namespace spk::tests {
namespace {

struct Tally {
    int64_t runs = 0, unproved = 0, differing = 0;
};

struct Case {
    Convolution convolution;
    std::vector<int8_t> weight;
    OwnedCounts from;
    Sums sums;
    std::string text;
};

void fill_weights(std::vector<int8_t>& weight, int kind, Random& random) {
    const int64_t bound = kind == 0 ? 1 : kind == 1 ? 7 : kind == 2 ? 15 : 127;
    for (int8_t& value : weight) value = int8_t(random.between(-bound, bound));
    if (kind == 4) std::fill(weight.begin(), weight.end(), int8_t(127));
    if (kind == 5) std::fill(weight.begin(), weight.end(), int8_t(-128));
}

int64_t sum_at(const Case& c, int64_t image, int64_t y, int64_t x, int32_t output) {
    const Convolution& shape = c.convolution;
    const int32_t inputs = shape.inputs / shape.groups;
    const int32_t group = output / (shape.outputs / shape.groups);
    int64_t sum = 0;
    for (int32_t input = 0; input < inputs; ++input) {
        for (int32_t tap = 0; tap < shape.side * shape.side; ++tap) {
            const int64_t row = y * shape.stride - shape.padding + tap / shape.side;
            const int64_t column = x * shape.stride - shape.padding + tap % shape.side;
            const bool inside = row >= 0 && column >= 0 && row < c.from.map.height &&
                                column < c.from.map.width;
            if (!inside) continue;
            const int64_t value =
                c.from.map.pixel(image, row, column)[group * inputs + input] - shape.zero;
            const int64_t at = (int64_t(output) * inputs + input) * shape.side * shape.side + tap;
            sum += value * c.weight[at];
        }
    }
    return sum;
}

Case make_case(Random& random) {
    Case c;
    Convolution& shape = c.convolution;
    const bool depthwise = random.chance(0.25), image = !depthwise && random.chance(0.2);
    shape.side = random.one_of({1, 1, 2, 3, 3, 3, 5, 7});
    shape.stride = random.one_of({1, 1, 1, 2, 4});
    shape.padding = int32_t(random.between(0, shape.side / 2));
    shape.inputs = image ? random.one_of({1, 3})
                         : random.one_of({1, 5, 16, 31, 32, 33, 64, 96, 100, 160, 300});
    shape.outputs =
        depthwise ? shape.inputs : random.one_of({1, 7, 16, 17, 32, 48, 70, 128, 150});
    shape.groups = depthwise ? shape.inputs : random.chance(0.05) ? shape.inputs : 1;
    if (shape.groups > 1) shape.outputs = shape.inputs * (depthwise ? 1 : 2);
    shape.zero = image ? 128 : 0;
    shape.lowest = image ? -128 : 0;
    shape.highest = image ? 127 : random.one_of({1, 2, 4, 4, 4, 8, 16, 64, 255});
    shape.images = random.chance(0.7) ? 1 : 3;
    const bool few_bits = random.chance(0.2), even = few_bits || random.chance(0.3);
    if (few_bits) shape.side = 3, shape.padding = int32_t(random.between(0, 1)), shape.stride = 1;
    const int32_t height = even ? 2 * int32_t(random.between(2, 5)) : int32_t(random.between(1, 9));
    const int32_t width = even ? 2 * int32_t(random.between(2, 6)) : int32_t(random.between(1, 12));
    const int32_t input_height = std::max(height, shape.side);
    const int32_t input_width = std::max(width, shape.side);
    shape.height = (input_height + 2 * shape.padding - shape.side) / shape.stride + 1;
    shape.width = (input_width + 2 * shape.padding - shape.side) / shape.stride + 1;
    shape.threads = random.chance(0.5) ? 1 : 2;
    const int64_t taps = shape.side * shape.side;
    c.weight.resize(size_t(shape.outputs * (shape.inputs / shape.groups) * taps));
    fill_weights(c.weight, few_bits ? 1 : int(random.between(0, 5)), random);
    c.from = make_counts(
        shape.images, shape.inputs, input_height, input_width,
        shape.padding + int32_t(random.between(0, 1)), shape.zero);
    const double share = random.one_of({0.02, 0.1, 0.4, 1.0});
    const int32_t lowest = random.chance(0.3) ? shape.highest : shape.lowest;
    fill(c.from, lowest, shape.highest, share, random);

    c.sums = {shape.images, shape.outputs, shape.height, shape.width, {}};
    for (int64_t pixel = 0; pixel < c.sums.pixels(); ++pixel) {
        const int64_t x = pixel % shape.width, row = pixel / shape.width;
        for (int32_t output = 0; output < shape.outputs; ++output) {
            c.sums.values.push_back(
                sum_at(c, row / shape.height, row % shape.height, x, output));
        }
    }
    char text[200];
    std::snprintf(
        text, sizeof text, "%d x %d->%d side %d stride %d padding %d groups %d to %dx%d highest %d",
        shape.images, shape.inputs, shape.outputs, shape.side, shape.stride, shape.padding,
        shape.groups, shape.height, shape.width, shape.highest);
    c.text = text;
    return c;
}

void test_synapses(
    const InstructionSet& set, int64_t number, uint64_t seed,
    std::map<std::string, Tally>& tallies) {
    Random random(seed + uint64_t(number) * 7919);
    Case c = make_case(random);
    for (const SynapseForm& form : set.synapses) {
        std::vector<int8_t> weight = c.weight;  // gone once the kernel is made
        Convolution convolution = c.convolution;
        convolution.weight = weight.data();
        Tally& tally = tallies[form.name];
        const std::unique_ptr<SynapseKernel> kernel = form.make(convolution);
        std::fill(weight.begin(), weight.end(), int8_t(0));
        if (!kernel) {
            ++tally.unproved;
            continue;
        }
        Threads threads(convolution.threads);
        CheckedEpilogue checked(c.sums, random);
        checked.expect(c.sums);
        kernel->run(c.from.map, checked.epilogue, threads);
        const int64_t differing = checked.differing(c.sums);
        ++tally.runs;
        tally.differing += differing;
        if (differing) {
            std::printf("case %lld: %s: %s: %lld differ\n", static_cast<long long>(number),
                        form.name, c.text.c_str(), static_cast<long long>(differing));
        }
    }
}

void test_finish(const InstructionSet& set, int64_t number, uint64_t seed, Tally& tally) {
    Random random(seed + uint64_t(number) * 104729);
    Sums sums = {random.one_of({1, 3}), int32_t(random.between(1, 70)),
                 int32_t(random.between(1, 6)), int32_t(random.between(1, 6)), {}};
    const int32_t stride = round_up(sums.channels, kCurrentLanes);
    const int64_t magnitude = int64_t(1) << random.between(2, 26);
    AlignedArray<int32_t> values(size_t(sums.pixels()) * stride);
    for (int64_t pixel = 0; pixel < sums.pixels(); ++pixel) {
        for (int32_t channel = 0; channel < sums.channels; ++channel) {
            values[size_t(pixel * stride + channel)] =
                int32_t(random.between(-magnitude, magnitude));
            sums.values.push_back(values[size_t(pixel * stride + channel)]);
        }
    }
    CheckedEpilogue checked(sums, random);
    checked.expect(sums);
    const int64_t middle = random.between(0, sums.pixels());
    set.finish(values.data(), stride, checked.epilogue, 0, middle);
    set.finish(values.data() + middle * stride, stride, checked.epilogue, middle, sums.pixels());
    ++tally.runs;
    tally.differing += checked.differing(sums);
}

Sums attend(const AttentionShape& shape, const CountMap& query, const CountMap& key,
            const CountMap& value) {
    Sums sums = {shape.images, shape.values, query.height, query.width, {}};
    sums.values.resize(size_t(sums.pixels()) * shape.values);
    const int32_t size = shape.channels / shape.heads, depth = shape.values / shape.heads;
    const auto count = [](const CountMap& map, int64_t image, int64_t token, int32_t channel) {
        return int64_t(map.pixel(image, token / map.width, token % map.width)[channel]);
    };
    for (int64_t image = 0; image < shape.images; ++image) {
        for (int32_t of_value = 0; of_value < shape.values; ++of_value) {
            for (int32_t i = 0; i < size; ++i) {
                const int32_t of_key = of_value / depth * size + i;
                int64_t context = 0;
                for (int32_t token = 0; token < shape.tokens; ++token) {
                    context +=
                        count(key, image, token, of_key) * count(value, image, token, of_value);
                }
                for (int64_t pixel = 0; pixel < shape.queries; ++pixel) {
                    sums.values[(image * shape.queries + pixel) * shape.values + of_value] +=
                        context * count(query, image, pixel, of_key);
                }
            }
        }
    }
    return sums;
}

void test_attention(const InstructionSet& set, int64_t number, uint64_t seed, Tally& tally) {
    Random random(seed + uint64_t(number) * 15485863);
    AttentionShape shape;
    shape.images = random.one_of({1, 1, 3});
    shape.heads = random.one_of({1, 2, 3, 8});
    shape.channels = shape.heads * random.one_of({1, 3, 8, 13, 16, 20, 32, 45});
    shape.values = random.chance(0.5) ? shape.channels
                                      : shape.heads * random.one_of({1, 3, 8, 16, 24, 45});
    const int32_t height = int32_t(random.between(1, 7)), width = int32_t(random.between(1, 9));
    const bool crosses = random.chance(0.2);
    const int32_t queries_width = crosses ? 5 : width;
    shape.tokens = height * width;
    shape.queries = height * queries_width;
    shape.highest_query = random.one_of({1, 4, 16});
    shape.highest_key = random.one_of({1, 4, 16, 128, 255});
    shape.highest_value = random.one_of({1, 4, 16, 128});
    shape.threads = random.one_of({1, 2});
    const auto make = [&](int32_t channels, int32_t map_width, int32_t highest) {
        OwnedCounts counts = make_counts(
            shape.images, channels, height, map_width, int32_t(random.between(0, 1)), 0);
        const int32_t lowest = random.chance(0.2) ? highest : 0;
        fill(counts, lowest, highest, random.chance(0.2) ? 1.0 : 0.4, random);
        return counts;
    };
    const OwnedCounts query = make(shape.channels, queries_width, shape.highest_query);
    const OwnedCounts key = make(shape.channels, width, shape.highest_key);
    const OwnedCounts value = make(shape.values, width, shape.highest_value);
    const Sums sums = attend(shape, query.map, key.map, value.map);
    if (sums.magnitude() > 1 << 28) return;  // the epilogue's would not fit 32 bits
    const std::unique_ptr<AttentionKernel> kernel = set.make_attention(shape);
    if (!kernel) {
        ++tally.unproved;
        return;
    }
    CheckedEpilogue checked(sums, random);
    checked.expect(sums);
    Threads threads(shape.threads);
    kernel->run(query.map, key.map, value.map, checked.epilogue, threads);
    const int64_t differing = checked.differing(sums);
    ++tally.runs;
    tally.differing += differing;
    if (differing) {
        std::printf("case %lld: attention: %d heads, %d and %d channels, %d tokens: %lld differ\n",
                    static_cast<long long>(number), shape.heads, shape.channels, shape.values,
                    shape.tokens,
                    static_cast<long long>(differing));
    }
}

int run(const InstructionSet& set, int64_t cases, uint64_t seed) {
    std::map<std::string, Tally> tallies;
    for (int64_t number = 0; number < cases; ++number) {
        test_synapses(set, number, seed, tallies);
        test_finish(set, number, seed, tallies["finish"]);
        test_attention(set, number, seed, tallies["attention"]);
    }
    int64_t differing = 0;
    for (const auto& [form, tally] : tallies) {
        std::printf("%s: %lld ran, %lld unproved, %lld integers differ\n", form.c_str(),
                    static_cast<long long>(tally.runs), static_cast<long long>(tally.unproved),
                    static_cast<long long>(tally.differing));
        differing += tally.differing;
    }
    return differing ? 1 : 0;
}

}  // namespace
}  // namespace spk::tests

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: %s SET CASES SEED\n", arguments[0]);
        return 2;
    }
    try {
        return spk::tests::run(
            spk::instruction_set(arguments[1]), std::atoll(arguments[2]),
            std::strtoull(arguments[3], nullptr, 10));
    } catch (const spk::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
