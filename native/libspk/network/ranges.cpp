#include <algorithm>
#include <limits>

#include "network/invalid.hpp"
#include "network/shapes.hpp"

namespace spk {
namespace {

// Within the limits of fields, no product below leaves 128 bits.
using Wide = __int128;

constexpr int kAccumulatorBits = 32;
constexpr Wide kMostMagnitude = (Wide(1) << (kAccumulatorBits - 1)) - 1;

Wide absolute(Wide value) { return value < 0 ? -value : value; }

int64_t largest(const std::vector<int64_t>& values) {
    int64_t most = 0;
    for (const int64_t value : values) most = std::max(most, std::abs(value));
    return most;
}

int64_t magnitude_of(const Interval& interval) {
    return std::max(largest(interval.low), largest(interval.high));
}

int64_t saturated(Wide value) {
    return int64_t(std::min<Wide>(value, std::numeric_limits<int64_t>::max()));
}

struct Proof {
    const Network& network;
    const Node& node;
    const std::vector<const Reach*>& inputs;
    Reach& reach;

    const Interval& source(size_t index = 0) const { return inputs[index]->interval; }

    // The magnitude, which 32 bits hold.
    int64_t require_bits(Wide magnitude, const char* what = "it") const {
        if (magnitude <= kMostMagnitude) return int64_t(magnitude);
        int bits = 1;  // of the sign
        for (; magnitude != 0; magnitude >>= 1) ++bits;
        refuse(node, "the ranges cannot be proved: " + std::string(what) + " needs " +
                         std::to_string(bits) + " bits for inputs of " +
                         std::to_string(network.max_height) + "x" +
                         std::to_string(network.max_width) + " pixels, more than " +
                         std::to_string(kAccumulatorBits));
    }

    void constant(Wide low, Wide high) const {
        reach.interval.magnitude = require_bits(std::max(absolute(low), absolute(high)));
        reach.interval.low.assign(size_t(reach.shape.channels), int64_t(low));
        reach.interval.high.assign(size_t(reach.shape.channels), int64_t(high));
    }
    // Bounds of each channel, low and high.
    template <class Bounds>
    void each_channel(Bounds&& bounds) const {
        Interval& interval = reach.interval;
        interval.low.resize(size_t(reach.shape.channels));
        interval.high.resize(interval.low.size());
        for (size_t c = 0; c < interval.low.size(); ++c) {
            const std::pair<Wide, Wide> both = bounds(c);
            require_bits(std::max(absolute(both.first), absolute(both.second)));
            interval.low[c] = int64_t(both.first);
            interval.high[c] = int64_t(both.second);
        }
        interval.magnitude = magnitude_of(interval);
    }

    void operator()(const Input& input) const { constant(input.low, input.high); }
    void operator()(const Synapse& synapse) const {
        Interval total = accumulator(synapse, source());
        int32_t most_left = 0;
        for (const int32_t shift : synapse.shift) most_left = std::max(most_left, shift);
        Wide most_bias = 0;
        for (const int32_t bias : synapse.bias) most_bias = std::max(most_bias, absolute(bias));
        const int64_t most = require_bits((Wide(total.magnitude) << most_left) + most_bias);
        for (size_t c = 0; c < total.low.size(); ++c) {
            const int32_t left = std::max(synapse.shift[c], 0);
            const int32_t right = std::max(-synapse.shift[c], 0);
            total.low[c] = (total.low[c] * (int64_t(1) << left) + synapse.bias[c]) >> right;
            total.high[c] = (total.high[c] * (int64_t(1) << left) + synapse.bias[c]) >> right;
        }
        total.magnitude = most;
        reach.interval = std::move(total);
    }
    void operator()(const Neuron& neuron) const {
        constant(0, neuron.levels);
        if (neuron.steps > 1) require_bits(membrane_of(neuron, *inputs[0]), "its membrane");
    }
    static Wide membrane_of(const Neuron& neuron, const Reach& from);
    void operator()(const Add&) const {
        each_channel([this](size_t c) {
            return std::pair<Wide, Wide>(Wide(source(0).low[c]) + source(1).low[c],
                                         Wide(source(0).high[c]) + source(1).high[c]);
        });
    }
    void operator()(const Gate&) const {
        const size_t each = source(0).high.size() / source(1).high.size();
        each_channel([&](size_t c) {
            return std::pair<Wide, Wide>(0, Wide(source(0).high[c]) * source(1).high[c / each]);
        });
    }
    void operator()(const SpikeSum& sum) const {
        const std::vector<int64_t>& high = source().high;
        const int64_t tokens = inputs[0]->shape.pixels();
        const size_t each = high.size() / size_t(sum.heads);
        each_channel([&](size_t c) {
            Wide total = 0;
            if (sum.over_tokens)
                total = Wide(high[c]) * tokens;
            else
                for (size_t i = c * each; i < (c + 1) * each; ++i) total += high[i];
            return std::pair<Wide, Wide>(0, total);
        });
    }
    // Every spike adds an element once, so the elements of one sign bound every partial sum.
    void operator()(const CurrentProduct& product) const {
        const std::vector<int64_t>&low = source(0).low, &high = source(0).high;
        const std::vector<int64_t>& counts = source(1).high;
        const size_t width = low.size() / size_t(product.heads);
        const size_t read = counts.size() / size_t(product.heads);  // of a head
        const size_t given = size_t(reach.shape.channels) / size_t(product.heads);
        std::pair<Wide, Wide> of_head;  // over keys both are the sum of its counts
        each_channel([&](size_t c) {
            const size_t head = c / given;
            if (c % given == 0) {
                of_head = {0, 0};
                for (size_t i = 0; i < read; ++i) {
                    const Wide count = counts[head * read + i];
                    const size_t from = product.over_channels ? head * width + i : 0;
                    of_head.first +=
                        count * (product.over_channels ? std::min<int64_t>(low[from], 0) : 1);
                    of_head.second +=
                        count * (product.over_channels ? std::max<int64_t>(high[from], 0) : 1);
                }
            }
            if (product.over_channels) return of_head;
            return std::pair<Wide, Wide>(of_head.first * std::min<int64_t>(low[c], 0),
                                         of_head.second * std::max<int64_t>(high[c], 0));
        });
    }
    void operator()(const Attention& attention) const {
        Wide bound = inputs[0]->shape.channels / attention.heads;
        for (size_t i = 0; i < 3; ++i)
            bound *= *std::max_element(source(i).high.begin(), source(i).high.end());
        const int64_t tokens = inputs[1]->shape.pixels();
        constant(0, bound * tokens);
        reach.pixels = attention.mean ? tokens : 1;
    }
    void operator()(const Pool&) const {
        const int64_t pixels = reach.pixels = inputs[0]->shape.pixels();
        require_bits(Wide(source().magnitude) * pixels);
        // A smaller input sums fewer pixels, so zero is always within.
        each_channel([&](size_t c) {
            return std::pair<Wide, Wide>(std::min<Wide>(Wide(source().low[c]) * pixels, 0),
                                         std::max<Wide>(Wide(source().high[c]) * pixels, 0));
        });
    }
    void operator()(const MaxPool&) const { reach.interval = source(); }
    void operator()(const Embedding& embedding) const {
        const size_t queries = size_t(embedding.queries);
        each_channel([&](size_t c) {
            const auto begin = embedding.value.begin() + ptrdiff_t(c * queries);
            const auto both = std::minmax_element(begin, begin + ptrdiff_t(queries));
            return std::pair<Wide, Wide>(*both.first, *both.second);
        });
    }
    void operator()(const Position& position) const {
        constant(-(Wide(1) << position.shift), Wide(1) << position.shift);
    }
    void operator()(const Resize&) const {
        reach.interval = source();
        // The sum before it is rounded has sixteenths.
        require_bits(16 * Wide(source().magnitude) + 8);
    }
    void operator()(const Sample& sample) const {
        const int bits = 2 * sample.position_bits;
        require_bits((Wide(source().magnitude) << bits) + (Wide(1) << bits));
        const Wide weight = *std::max_element(source(2).high.begin(), source(2).high.end());
        each_channel([&](size_t c) {
            const Wide size = std::max(absolute(source().low[c]), absolute(source().high[c]));
            const Wide reached = size * sample.side * sample.side * weight;
            return std::pair<Wide, Wide>(-reached, reached);
        });
    }
    void operator()(const MaskProduct&) const {
        Wide bound = 0;
        for (size_t c = 0; c < source(1).low.size(); ++c)
            bound += source(0).high[c] *
                     std::max(absolute(source(1).low[c]), absolute(source(1).high[c]));
        constant(-bound, bound);
    }
    void operator()(const Output& output) const {
        each_channel([&](size_t c) {
            return std::pair<Wide, Wide>(Wide(source().low[c]) * output.steps,
                                         Wide(source().high[c]) * output.steps);
        });
    }
};

// What a step adds, and what a leak or reset can leave, is within the sum over the steps.
Wide Proof::membrane_of(const Neuron& neuron, const Reach& from) {
    Wide most = 0;
    const size_t channels = from.interval.low.size(), rows = neuron.bias.size();
    for (size_t c = 0; c < channels; ++c) {
        const Wide bias = Wide(neuron.bias[rows == 1 ? 0 : c]) * from.pixels;
        const Wide unit = Wide(1) << neuron.shift;
        most = std::max({most, absolute(from.interval.low[c] * unit + bias),
                         absolute(from.interval.high[c] * unit + bias)});
    }
    return neuron.steps * (most + Wide(largest(neuron.step)) * neuron.levels * from.pixels);
}

}  // namespace

std::vector<Reach> prove_ranges(const Network& network) {
    std::vector<Reach> reaches(network.nodes.size());
    const auto shapes = infer_shapes(network, network.max_height, network.max_width);
    for (size_t i = 0; i < reaches.size(); ++i) {
        const Node& node = network.nodes[i];
        std::vector<const Reach*> inputs;
        for (const int32_t input : node.inputs) inputs.push_back(&reaches[size_t(input)]);
        reaches[i].shape = shapes[i];
        std::visit(Proof{network, node, inputs, reaches[i]}, node.operation);
    }
    return reaches;
}

int64_t potential_of(const Neuron& neuron, const Reach& source) {
    const Wide bias = Wide(largest(neuron.bias)) * source.pixels;
    Wide potential = (Wide(source.interval.magnitude) << neuron.shift) + bias;
    if (neuron.steps > 1) potential = std::max(potential, Proof::membrane_of(neuron, source));
    return saturated(std::max(potential, Wide(largest(neuron.thresholds)) * source.pixels));
}

}  // namespace spk
