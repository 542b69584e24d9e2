#include "network/counts.hpp"

#include <algorithm>

namespace spk {

std::vector<std::optional<Counts>> counts_of(const Network& network) {
    std::vector<std::optional<Counts>> counts(network.nodes.size());
    for (size_t i = 0; i < counts.size(); ++i) {
        const Node& node = network.nodes[i];
        const auto of = [&](size_t input) { return counts[size_t(node.inputs[input])]; };
        if (const auto* neuron = std::get_if<Neuron>(&node.operation)) {
            counts[i] = Counts{neuron->levels, true};
        } else if (std::holds_alternative<MaxPool>(node.operation)) {
            counts[i] = of(0);
        } else if (std::holds_alternative<Add>(node.operation)) {
            if (of(0) && of(1))
                counts[i] = Counts{std::min(of(0)->levels + of(1)->levels, kMostLevels), false};
        } else if (std::holds_alternative<Gate>(node.operation)) {
            if (!of(0) || !of(1)) continue;
            // Binary spikes only mask.
            const bool masks = of(0)->levels == 1 || of(1)->levels == 1;
            counts[i] = Counts{std::min(of(0)->levels * of(1)->levels, kMostLevels),
                               masks && of(0)->ordered && of(1)->ordered};
        }
    }
    return counts;
}

}  // namespace spk
