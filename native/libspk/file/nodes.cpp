#include "file/nodes.hpp"

#include <set>
#include <unordered_map>

#include "file/bit_stream.hpp"
#include "file/entry.hpp"
#include "file/fault.hpp"
#include "file/text.hpp"

namespace spk {
namespace {

constexpr int64_t kVocabulary = 2;

// A node whose name and inputs were read already.
struct Fields {
    Entry& entry;
    NodeTensors& tensors;
    const FileBytes& file;

    int32_t integer(std::string_view field, Limits limits) {
        return int32_t(entry.take_integer(field, limits));
    }
    bool flag(std::string_view field) { return entry.has(field) && entry.take_boolean(field); }
    template <class Integer>
    std::vector<Integer> integers(std::string_view field, Limits limits) {
        return tensors.take_integers<Integer>(field, tensors.take_shape(field, 1, 1), limits);
    }
};

Operation read_input(Fields from) {
    Input input;
    input.steps = from.integer("steps", kSteps);
    input.channels = from.integer("channels", kChannels);
    input.stride = from.integer("stride", {1, kMostSide});
    input.shift = from.integer("shift", kShift);
    input.low = from.integer("low", kExact);
    input.high = from.integer("high", kExact);
    return input;
}

// At most a limit; more than that where 64 bits do not hold it either.
int64_t product(const std::vector<int64_t>& sizes, size_t first) {
    int64_t all = 1;
    for (size_t i = first; i < sizes.size() && all <= kMostWeights; ++i) all *= sizes[i];
    return all;
}

Operation read_synapse(Fields from) {
    Synapse synapse;
    synapse.bits = from.integer("bits", {2, 8});
    synapse.stride = from.integer("stride", kKernelStep);
    synapse.padding = from.integer("padding", {0, 255});
    synapse.groups = from.integer("groups", kChannels);
    synapse.shift = from.integers<int32_t>("shift", kShift);
    synapse.bias = from.integers<int32_t>("bias", kInt32);
    const auto shape = from.tensors.take_shape("weight", 2, 4);
    if (shape.size() == 3 || (shape.size() == 4 && shape[2] != shape[3]))
        from.tensors.refuse("a weight " + show_sizes(shape) +
                            " is no matrix and no square kernel");
    if (product(shape, 0) > kMostWeights || product(shape, 1) > kMostWeightsPerOutput)
        from.tensors.refuse("a weight " + show_sizes(shape) + " is larger than in any network");
    synapse.outputs = int32_t(shape[0]);
    synapse.inputs_of_group = int32_t(shape[1]);
    synapse.side = shape.size() == 4 ? int32_t(shape[2]) : 0;
    const size_t length = packed_length(size_t(product(shape, 0)), synapse.bits);
    const StoredTensor packed = from.tensors.take_bytes("weight", {int64_t(length)});
    synapse.packed = FileBytes(from.file, packed.bytes);
    synapse.packed_size = packed.size;
    return synapse;
}

std::optional<Rounding> read_rounding(NodeTensors& tensors) {
    if (!tensors.shapes().has_more()) return std::nullopt;
    Rounding rounding;
    rounding.gain = tensors.take_reals("rounding.gain", tensors.take_shape("rounding.gain", 1, 1));
    rounding.offset =
        tensors.take_reals("rounding.offset", tensors.take_shape("rounding.offset", 1, 1));
    return rounding;
}

Operation read_neuron(Fields from) {
    Neuron neuron;
    neuron.steps = from.integer("steps", kSteps);
    neuron.levels = from.integer("levels", {1, 255});
    neuron.shift = from.integer("shift", kLeftShift);
    const auto shape = from.tensors.take_shape("thresholds", 2, 2);
    neuron.thresholds = from.tensors.take_integers<int64_t>("thresholds", shape, kThreshold);
    if (shape[1] != neuron.levels)
        from.tensors.refuse(std::to_string(shape[1]) + " thresholds for " +
                            std::to_string(neuron.levels) + " levels");
    neuron.step = from.integers<int64_t>("step", kNotNegative);
    neuron.bias = from.integers<int64_t>("bias", kInt32);
    Entry leak = from.entry.take_entry("leak");
    neuron.leak.kind = LeakKind(leak.take_choice("kind", {"none", "all", "share", "rest"}));
    neuron.leak.shift = int32_t(leak.take_integer("shift", kLeftShift));
    leak.finish();
    neuron.resets_hard = from.entry.take_choice("reset", {"soft", "hard"}) == 1;
    neuron.per_pixel = from.entry.take_boolean("per_pixel");
    neuron.rounding = read_rounding(from.tensors);
    return neuron;
}

Operation read_add(Fields) { return Add{}; }
Operation read_gate(Fields) { return Gate{}; }
Operation read_pool(Fields) { return Pool{}; }
Operation read_resize(Fields) { return Resize{}; }

Operation read_spike_sum(Fields from) {
    SpikeSum sum;
    sum.heads = from.integer("heads", kChannels);
    sum.over_tokens = from.entry.take_choice("over", {"tokens", "channels"}) == 0;
    return sum;
}

Operation read_current_product(Fields from) {
    CurrentProduct product;
    product.heads = from.integer("heads", kChannels);
    product.keys = from.integer("keys", kChannels);
    product.over_channels = from.entry.take_choice("over", {"channels", "keys"}) == 0;
    return product;
}

Operation read_attention(Fields from) {
    Attention attention;
    attention.heads = from.integer("heads", kChannels);
    attention.mean = from.flag("mean");
    return attention;
}

Operation read_max_pool(Fields from) {
    MaxPool pool;
    pool.kernel = from.integer("kernel", {1, 255});
    pool.stride = from.integer("stride", kKernelStep);
    pool.padding = from.integer("padding", {0, 127});
    return pool;
}

Operation read_embedding(Fields from) {
    const auto shape = from.tensors.take_shape("value", 4, 4);
    Embedding embedding;
    embedding.value = from.tensors.take_integers<int32_t>("value", shape, kInt32);
    if (shape[0] != 1 || shape[2] != 1) from.tensors.refuse("its value is " + show_sizes(shape));
    embedding.channels = int32_t(shape[1]);
    embedding.queries = int32_t(shape[3]);
    return embedding;
}

Operation read_position(Fields from) {
    Position position;
    position.channels = from.integer("channels", kChannels);
    position.shift = from.integer("shift", kLeftShift);
    return position;
}

Operation read_sample(Fields from) {
    Sample sample;
    sample.groups = from.integer("groups", kChannels);
    sample.side = from.integer("side", {1, 15});
    sample.offset_shift = from.integer("offset_shift", kLeftShift);
    sample.position_bits = from.integer("position_bits", {0, 8});
    return sample;
}

Operation read_mask_product(Fields from) {
    return MaskProduct{from.integer("inhibitory", kInhibitory)};
}

Operation read_output(Fields from) {
    Output output;
    output.steps = from.integer("steps", kSteps);
    output.scale = from.entry.take_number("scale");
    output.of_queries = from.flag("of_queries");
    return output;
}

struct Kind {
    const char* name;
    size_t inputs;
    Operation (*read)(Fields);
};

constexpr Kind kKinds[] = {
    {"Input", 0, read_input},         {"Synapse", 1, read_synapse},
    {"Neuron", 1, read_neuron},       {"Add", 2, read_add},
    {"Gate", 2, read_gate},           {"SpikeSum", 1, read_spike_sum},
    {"Attention", 3, read_attention}, {"Pool", 1, read_pool},
    {"MaxPool", 1, read_max_pool},    {"Embedding", 1, read_embedding},
    {"Position", 1, read_position},   {"Resize", 2, read_resize},
    {"Sample", 3, read_sample},       {"MaskProduct", 2, read_mask_product},
    {"Output", 1, read_output},       {"CurrentProduct", 2, read_current_product},
};

using Places = std::unordered_map<std::string, int32_t>;

Node read_node(Entry& entry, Tensors& left, const Places& places, const FileBytes& file) {
    const std::string type = entry.take_string("type");
    Node node;
    node.name = entry.take_string("name");
    const size_t length = length_of(node.name);
    if (length < 1 || length > kMostName || !is_printable(node.name))
        throw_unusable(entry.name + " has the name " + quoted(node.name));
    entry.name = quoted(node.name);
    const Kind* kind = nullptr;
    for (const Kind& each : kKinds)
        if (type == each.name) kind = &each;
    if (kind == nullptr) throw_unusable(entry.name + " is of the unknown type " + quoted(type));
    const JsonDocument& document = entry.document();
    const JsonValue& sources = entry.take_list("inputs", 3);
    bool names = document.size(sources) == kind->inputs;
    for (size_t i = 0; i < document.size(sources); ++i)
        names = names && document.item(sources, i).kind == JsonKind::string;
    if (!names)
        throw_unusable(entry.name + ": inputs is " + document.show(&sources) + "; " + type +
                       " has " + std::to_string(kind->inputs) + " inputs");
    NodeTensors tensors(node.name, entry.take_entry("tensors"), left);
    node.operation = kind->read({entry, tensors, file});
    tensors.shapes().finish();
    entry.finish();
    for (size_t i = 0; i < document.size(sources); ++i) {
        const std::string source(document.string(document.item(sources, i)));
        const auto place = places.find(source);
        if (place == places.end())
            throw_unusable(entry.name + " reads " + quoted(source) + " before it exists");
        node.inputs.push_back(place->second);
    }
    return node;
}

// The least version of the vocabulary that has all nodes.
int64_t vocabulary_of(const Network& network) {
    for (const Node& node : network.nodes)
        if (std::holds_alternative<Gate>(node.operation) ||
            std::holds_alternative<SpikeSum>(node.operation) ||
            std::holds_alternative<CurrentProduct>(node.operation))
            return 2;
    return 1;
}

Network read_graph(const JsonDocument& document, const Container& container) {
    Entry graph("the graph", document, &document.root());
    const JsonValue* version = document.find(document.root(), "vocabulary");
    if (version != nullptr && version->kind == JsonKind::integer &&
        (!version->fits || version->integer < 1 || version->integer > kVocabulary))
        refuse_version(document, version, kVocabulary);
    const int64_t vocabulary = graph.take_integer("vocabulary", {1, kVocabulary});
    const JsonValue& entries = graph.take_list("nodes", kMostNodes);
    const auto size = graph.take_sizes("max_size", 2, 2, kMostSide);
    graph.finish();
    Network network;
    network.max_height = int32_t(size[0]);
    network.max_width = int32_t(size[1]);
    network.card = container.card;
    Tensors left = container.tensors;
    Places places;
    for (size_t i = 0; i < document.size(entries); ++i) {
        Entry entry("node " + std::to_string(i), document, &document.item(entries, i));
        Node node = read_node(entry, left, places, container.file);
        if (!places.emplace(node.name, int32_t(i)).second)
            throw_unusable("two nodes are named " + quoted(node.name));
        network.nodes.push_back(std::move(node));
    }
    if (!left.empty()) {
        std::string names;
        for (const auto& tensor : left) names += (names.empty() ? "" : ", ") + tensor.first;
        throw_unusable("tensors " + quoted(names) + " belong to no node");
    }
    const int64_t needed = vocabulary_of(network);
    if (vocabulary != needed)
        throw_unusable("its nodes are of vocabulary " + std::to_string(needed) + " and it says " +
                       std::to_string(vocabulary));
    return network;
}

}  // namespace

Network build(const Container& container) {
    std::optional<JsonDocument> parsed;
    try {
        parsed.emplace(container.graph);
    } catch (const JsonError&) {
        throw_unusable("the graph is no JSON object");
    }
    return read_graph(*parsed, container);
}

}  // namespace spk
