#include "network/shapes.hpp"

#include <utility>

#include "network/invalid.hpp"

namespace spk {
namespace {

struct Inference {
    const Node& node;
    const std::vector<Shape>& inputs;

    void require(bool holds, const char* problem) const { spk::require(node, holds, problem); }
    void require_inputs(bool fit) const {
        if (fit) return;
        std::string shapes;
        for (const Shape& shape : inputs) shapes += " " + show(shape);
        refuse(node, "its inputs are" + shapes);
    }
    void require_map(const Shape& shape) const { require(shape.is_map, "it reads no map"); }

    // The size of the map that a kernel or window gives.
    void slide(Shape& shape, int64_t side, int64_t stride, int64_t padding) const {
        const int64_t height = shape.height + 2 * padding - side;
        const int64_t width = shape.width + 2 * padding - side;
        require(height >= 0 && width >= 0, "it gives a map without pixels");
        shape.height = height / stride + 1;
        shape.width = width / stride + 1;
    }

    Shape operator()(const Input& input) const {
        require(inputs[0].channels == input.channels, "an image of other channels");
        return inputs[0];
    }
    Shape operator()(const Synapse& synapse) const {
        Shape shape = inputs[0];
        require(shape.channels % synapse.groups == 0, "groups do not divide its inputs");
        require(synapse.outputs % synapse.groups == 0, "groups do not divide its outputs");
        if (synapse.inputs_of_group != shape.channels / synapse.groups)
            refuse(node, "weight has " + std::to_string(synapse.inputs_of_group) + " inputs of " +
                             std::to_string(shape.channels / synapse.groups));
        require(synapse.is_linear() != shape.is_map,
                "a map needs a kernel and a vector a matrix");
        if (shape.is_map) slide(shape, synapse.side, synapse.stride, synapse.padding);
        shape.channels = synapse.outputs;
        return shape;
    }
    Shape operator()(const Neuron&) const { return inputs[0]; }
    Shape operator()(const Output&) const { return inputs[0]; }
    Shape operator()(const Add&) const {
        const Shape &first = inputs[0], &second = inputs[1];
        if (first == second) return first;
        const Shape embedding_of_first{first.channels, 1, 1, true, true};
        const Shape embedding_of_second{second.channels, 1, 1, true, true};
        if (first.is_map && second == embedding_of_first) return first;
        require_inputs(second.is_map && first == embedding_of_second);
        return second;
    }
    Shape operator()(const Gate&) const {
        const Shape &gated = inputs[0], &by = inputs[1];
        const bool one = by.is_map && by.pixels() == 1;
        require_inputs(gated.is_map && gated.channels % by.channels == 0 &&
                       (one || (same_size(gated, by) && by.fixed == gated.fixed)));
        return gated;
    }
    Shape operator()(const SpikeSum& sum) const {
        Shape shape = inputs[0];
        require_map(shape);
        if (sum.over_tokens) {
            require(sum.heads == 1, "it has heads, over which it does not sum");
            return {shape.channels, 1, 1, true, true};
        }
        require(shape.channels % sum.heads == 0, "heads do not divide the channels");
        shape.channels = sum.heads;
        return shape;
    }
    Shape operator()(const CurrentProduct& product) const {
        const Shape& current = inputs[0];
        Shape shape = inputs[1];
        if (current.pixels() != product.keys)
            refuse(node, "it has " + std::to_string(current.pixels()) +
                             " keys where thresholds are for " + std::to_string(product.keys));
        require_map(current);
        require_map(shape);
        require(current.channels % product.heads == 0, "heads do not divide the channels");
        int64_t read = current.channels, given = int64_t(product.heads) * product.keys;
        if (!product.over_channels) std::swap(read, given);
        require_inputs(shape.channels == read);
        shape.channels = given;
        return shape;
    }
    Shape operator()(const Attention& attention) const {
        const Shape &query = inputs[0], &key = inputs[1], &value = inputs[2];
        Shape attended = query;
        attended.channels = value.channels;
        Shape stored = key;
        stored.channels = value.channels;
        require_inputs(stored == value && query.channels == key.channels);
        require_map(query);
        require_map(key);
        require(query.channels % attention.heads == 0 && value.channels % attention.heads == 0,
                "heads do not divide the channels");
        return attended;
    }
    Shape operator()(const Pool&) const {
        require_map(inputs[0]);
        return {inputs[0].channels, 1, 1, false, false};
    }
    Shape operator()(const MaxPool& pool) const {
        Shape shape = inputs[0];
        require_map(shape);
        require(2 * pool.padding <= pool.kernel, "its padding exceeds half its kernel");
        slide(shape, pool.kernel, pool.stride, pool.padding);
        return shape;
    }
    Shape operator()(const Embedding& embedding) const {
        return {embedding.channels, 1, embedding.queries, true, true};
    }
    Shape operator()(const Position& position) const {
        Shape shape = inputs[0];
        require(position.channels % 4 == 0, "four do not divide the channels");
        require_map(shape);
        shape.channels = position.channels;
        return shape;
    }
    Shape operator()(const Resize&) const {
        const Shape& source = inputs[0];
        Shape like = inputs[1];
        require_map(source);
        require_map(like);
        const bool doubled = same_size(source, like) || (2 * source.height == like.height &&
                                                         2 * source.width == like.width);
        require(doubled, "it resizes to something else than once or twice the size");
        like.channels = source.channels;
        return like;
    }
    Shape operator()(const Sample& sample) const {
        const Shape &value = inputs[0], &offset = inputs[1], &weight = inputs[2];
        require_map(value);
        const int64_t points = int64_t(sample.groups) * sample.side * sample.side;
        require_inputs(same_size(value, offset) && same_size(value, weight) &&
                       value.fixed == offset.fixed && value.fixed == weight.fixed &&
                       offset.channels == 2 * points && weight.channels == points);
        require(value.channels % sample.groups == 0, "groups do not divide the channels");
        return value;
    }
    Shape operator()(const MaskProduct& product) const {
        const Shape& embedding = inputs[0];
        Shape features = inputs[1];
        const bool queries = embedding.fixed && embedding.is_map && embedding.height == 1;
        require(queries, "it reads no queries");
        require_inputs(embedding.channels == features.channels && features.is_map);
        require(product.inhibitory <= features.channels, "more channels inhibit than there are");
        features.channels = embedding.width;
        return features;
    }
};

}  // namespace

bool operator==(const Shape& first, const Shape& second) {
    return first.channels == second.channels && same_size(first, second) &&
           first.fixed == second.fixed;
}

bool same_size(const Shape& first, const Shape& second) {
    return first.is_map == second.is_map && first.height == second.height &&
           first.width == second.width;
}

std::string show(const Shape& shape) {
    const std::string channels = std::to_string(shape.channels);
    if (!shape.is_map) return "[" + channels + "]";
    return "[" + channels + ", " + std::to_string(shape.height) + ", " +
           std::to_string(shape.width) + "]" + (shape.fixed ? " of queries" : "");
}

Shape infer_shape(const Node& node, const std::vector<Shape>& inputs) {
    return std::visit(Inference{node, inputs}, node.operation);
}

std::vector<Shape> infer_shapes(const Network& network, int64_t height, int64_t width) {
    std::vector<Shape> shapes;
    for (const Node& node : network.nodes) {
        std::vector<Shape> inputs;
        for (const int32_t input : node.inputs) inputs.push_back(shapes[size_t(input)]);
        if (inputs.empty())
            inputs.push_back({network.input().channels, height, width, true, false});
        shapes.push_back(infer_shape(node, inputs));
    }
    return shapes;
}

}  // namespace spk
