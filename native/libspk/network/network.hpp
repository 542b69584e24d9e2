// The vocabulary of integer networks; their rules are those of graph/integer_vocabulary.py.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace spk {

struct Input {
    int32_t steps, channels, stride, shift, low, high;
};

// ((sum of weight * x) << left) + bias) >> right, floor, once per time step.
struct Synapse {
    int32_t outputs, inputs_of_group;
    int32_t side;  // of a square kernel; 0 of a matrix
    int32_t bits, stride, padding, groups;
    // A bit stream within the file, which it keeps in memory.
    std::shared_ptr<const uint8_t> packed;
    size_t packed_size;
    std::vector<int32_t> shift;   // per output: left where positive, right where negative
    std::vector<int32_t> bias;

    bool is_linear() const { return side == 0; }
    int64_t weights_per_output() const {
        return int64_t(inputs_of_group) * (is_linear() ? 1 : side * side);
    }
    // [outputs][inputs of a group][side][side]
    std::vector<int8_t> weight() const;
};

enum class LeakKind { none, all, share, rest };

struct Leak {
    LeakKind kind;
    int32_t shift;
};

// n = clamp(round(gain * X + offset), 0, D) in float32, half to even; T = 1 alone.
struct Rounding {
    std::vector<float> gain, offset;
};

struct Neuron {
    int32_t steps, levels;
    std::vector<int64_t> thresholds;  // [1 or channels][levels]
    std::vector<int64_t> step, bias;  // [1 or channels]
    int32_t shift;
    Leak leak;
    bool resets_hard;
    bool per_pixel;
    std::optional<Rounding> rounding;
};

struct Add {};
struct Gate {};

struct SpikeSum {
    bool over_tokens;  // else over the channels of each head
    int32_t heads;
};

// Sums of a current's elements, as often as there are spikes.
struct CurrentProduct {
    bool over_channels;  // of each head, for every key; else over the keys
    int32_t heads, keys;
};

struct Attention {
    int32_t heads;
    bool mean;
};

struct Pool {};

struct MaxPool {
    int32_t kernel, stride, padding;
};

struct Embedding {
    int32_t channels, queries;
    std::vector<int32_t> value;  // [channels][queries]
};

struct Position {
    int32_t channels, shift;
};

struct Resize {};

struct Sample {
    int32_t groups, side, offset_shift, position_bits;
};

struct MaskProduct {
    int32_t inhibitory;
};

struct Output {
    int32_t steps;
    double scale;
    bool of_queries;
};

using Operation = std::variant<
    Input, Synapse, Neuron, Add, Gate, SpikeSum, CurrentProduct, Attention, Pool, MaxPool,
    Embedding, Position, Resize, Sample, MaskProduct, Output>;

struct Node {
    std::string name;
    std::vector<int32_t> inputs;  // indices of earlier nodes
    Operation operation;
};

struct Network {
    std::vector<Node> nodes;
    int32_t max_height, max_width;
    std::optional<std::string> card;

    const Input& input() const { return std::get<Input>(nodes.front().operation); }
};

// Of a value, per sample and time step.
struct Shape {
    int64_t channels;
    int64_t height, width;  // 1 and 1 of a vector
    bool is_map;
    bool fixed;  // the same for every image, as that of queries

    int64_t pixels() const { return height * width; }
    int64_t elements() const { return channels * pixels(); }
};

// Of every node, for inputs of a size; throws Error where nodes do not fit together.
std::vector<Shape> infer_shapes(const Network& network, int64_t height, int64_t width);

struct Interval {
    std::vector<int64_t> low, high;  // per channel
    int64_t magnitude;               // of every partial sum in any order, and of the result
};

struct Reach {
    Interval interval;
    Shape shape;
    int64_t pixels = 1;  // that it is the sum of
};

// Of every node at the largest input; throws Error where 32 bits do not suffice.
std::vector<Reach> prove_ranges(const Network& network);
// Of a synapse's bare sum of weights times inputs, before shift and bias.
Interval accumulator(const Synapse& synapse, const Interval& source);
// The largest magnitude that a neuron compares or keeps: potential, membrane, thresholds of all
// pixels. At most the largest of 64 bits, where it says no more than that: thresholds out of reach
// go up to 2^53 for each pixel.
int64_t potential_of(const Neuron& neuron, const Reach& source);

// Everything that a network must be; throws Error. Reading a file ends with it. Fields are taken
// to be within their limits.
void check_network(const Network& network);

}  // namespace spk
