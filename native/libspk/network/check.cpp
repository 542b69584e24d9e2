// Whether nodes, from a file, fit together and can be proved.
#include <algorithm>
#include <cmath>

#include "network/counts.hpp"
#include "network/invalid.hpp"
#include "network/rounding.hpp"
#include "network/shapes.hpp"

namespace spk {
namespace {

constexpr int64_t kMostChannelsOfAllNodes = int64_t(1) << 22;
constexpr int64_t kMostPixels = int64_t(1) << 31;
constexpr int64_t kMostSubSteps = int64_t(1) << 16;

[[noreturn]] void refuse_network(const std::string& problem) {
    throw Error(SPK_NO_NETWORK, problem + "; do not use it; save the network again");
}

// What a node asks beside shapes that fit.
struct Fields {
    const Network& network;
    const Node& node;
    const std::vector<Shape>& inputs;
    const std::vector<std::optional<Counts>>& counts;

    void require(bool holds, const char* problem) const { spk::require(node, holds, problem); }
    const Node& source(size_t index) const { return network.nodes[size_t(node.inputs[index])]; }
    void require_counts(size_t index) const {
        if (!counts[size_t(node.inputs[index])])
            refuse(node, "'" + source(index).name + "' is no neuron and no count of spikes");
    }
    void require_steps(int32_t steps) const {
        require(steps == network.input().steps, "steps are not those of the input");
    }
    void require_channels(size_t count, const char* field) const {
        if (count != 1 && int64_t(count) != inputs[0].channels)
            refuse(node, std::string(field) + " are for " + std::to_string(count) +
                             " channels of " + std::to_string(inputs[0].channels));
    }

    void operator()(const Input& input) const {
        require(input.low <= input.high, "low is above high");
    }
    void operator()(const Synapse& synapse) const {
        const size_t outputs = size_t(synapse.outputs);
        require(synapse.shift.size() == outputs, "shift is not one per channel");
        require(synapse.bias.size() == outputs, "bias is not one per channel");
        require(!synapse.is_linear() ||
                    (synapse.stride == 1 && synapse.padding == 0 && synapse.groups == 1),
                "a matrix has stride 1, padding 0 and groups 1");
    }
    void operator()(const Neuron& neuron) const {
        require_steps(neuron.steps);
        const size_t levels = size_t(neuron.levels), rows = neuron.thresholds.size() / levels;
        require_channels(rows, "thresholds");
        require_channels(neuron.step.size(), "step");
        require_channels(neuron.bias.size(), "bias");
        for (size_t c = 0; c < rows; ++c) {
            const auto row = neuron.thresholds.begin() + ptrdiff_t(c * levels);
            require(std::is_sorted(row, row + ptrdiff_t(levels)), "thresholds do not ascend");
        }
        const auto* attention = std::get_if<Attention>(&source(0).operation);
        const bool of_keys = attention != nullptr && attention->mean;
        const bool of_pixels = of_keys || std::holds_alternative<Pool>(source(0).operation);
        require(neuron.per_pixel == of_pixels, "per_pixel is not whether it reads a pool");
        const bool biased = std::any_of(neuron.bias.begin(), neuron.bias.end(),
                                        [](int64_t bias) { return bias != 0; });
        require(neuron.steps > 1 || ((of_keys || neuron.shift == 0) && !biased),
                "over one step its shift and bias are zero");
        require(!neuron.rounding || (neuron.steps == 1 && !of_pixels),
                "a rounding form cannot serve it");
    }
    void operator()(const Gate&) const {
        require_counts(0);
        require_counts(1);
    }
    void operator()(const SpikeSum&) const { require_counts(0); }
    void operator()(const CurrentProduct&) const { require_counts(1); }
    void operator()(const Attention&) const {
        for (size_t i = 0; i < 3; ++i)
            require(std::holds_alternative<Neuron>(source(i).operation),
                    "it reads something else than neurons");
    }
    void operator()(const MaxPool&) const {
        const auto& counted = counts[size_t(node.inputs[0])];
        require(!counted || counted->ordered,
                "no spikes are the maximum of sums of counts or products");
    }
    void operator()(const Output& output) const {
        require_steps(output.steps);
        require(output.scale > 0 && std::isfinite(output.scale),
                "scale is not positive and finite");
        require(!output.of_queries || (inputs[0].fixed && inputs[0].is_map && inputs[0].height == 1),
                "it reads no queries");
    }
    void operator()(const Sample& sample) const {
        const int64_t values = inputs[0].channels * sample.side * sample.side;
        require(values <= kMostChannelsOfAllNodes, "it samples more values than any network");
        require_counts(2);
    }
    void operator()(const MaskProduct&) const { require_counts(0); }
    void operator()(const Add&) const {}
    void operator()(const Pool&) const {}
    void operator()(const Embedding&) const {}
    void operator()(const Position&) const {}
    void operator()(const Resize&) const {}
};

template <class Operation>
bool is(const Node& node) {
    return std::holds_alternative<Operation>(node.operation);
}

void check_ends(const Network& network) {
    const auto inputs = std::count_if(network.nodes.begin(), network.nodes.end(), is<Input>);
    if (inputs != 1 || !is<Input>(network.nodes.front()))
        refuse_network("there is not exactly one Input, first of the nodes");
    if (!is<Output>(network.nodes.back())) refuse_network("there is no Output, last of the nodes");
}

void check_nodes(const Network& network, const std::vector<std::optional<Counts>>& counts) {
    std::vector<Shape> shapes;
    int64_t channels = 0;
    for (const Node& node : network.nodes) {
        std::vector<Shape> inputs;
        for (const int32_t input : node.inputs) {
            require(node, !is<Output>(network.nodes[size_t(input)]), "it reads an output");
            inputs.push_back(shapes[size_t(input)]);
        }
        if (inputs.empty())
            inputs.push_back({network.input().channels, network.max_height, network.max_width,
                              true, false});
        const Shape shape = infer_shape(node, inputs);
        std::visit(Fields{network, node, inputs, counts}, node.operation);
        if (shape.pixels() > kMostPixels) refuse(node, "it gives a map of " + show(shape));
        shapes.push_back(shape);
        channels += shape.channels;
    }
    if (channels > kMostChannelsOfAllNodes)
        refuse_network("the nodes have more channels than any network");
}

}  // namespace

void check_network(const Network& network) {
    check_ends(network);
    const auto counts = counts_of(network);
    check_nodes(network, counts);
    const std::vector<Reach> reaches = prove_ranges(network);
    for (size_t i = 0; i < reaches.size(); ++i) {
        const Node& node = network.nodes[i];
        require(node, !counts[i] || reaches[i].interval.magnitude <= kMostSubSteps,
                "it sums more spikes per time step than any network");
        const auto* neuron = std::get_if<Neuron>(&node.operation);
        if (neuron == nullptr || !neuron->rounding) continue;
        const Reach& source = reaches[size_t(node.inputs[0])];
        const char* fault =
            find_fault(*neuron, *neuron->rounding, source.interval.magnitude);
        if (fault != nullptr) refuse(node, fault);
    }
}

}  // namespace spk
