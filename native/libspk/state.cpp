#include "state.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "error.hpp"

namespace spk {

namespace {

constexpr int32_t kMark = 0x314b5053;  // "SPK1"

// By how much a step can move what a node keeps, as the range proof says; 0 where it keeps nothing.
std::vector<int64_t> movements(const Network& network) {
    const std::vector<Reach> reaches = prove_ranges(network);
    std::vector<int64_t> most(network.nodes.size(), 0);
    for (size_t index = 0; index < network.nodes.size(); index++) {
        const Node& node = network.nodes[index];
        if (const Neuron* neuron = std::get_if<Neuron>(&node.operation)) {
            if (neuron->steps == 1) continue;
            const Reach& source = reaches[size_t(node.inputs[0])];
            int64_t added = 0, removed = 0;
            for (size_t channel = 0; channel < source.interval.low.size(); channel++) {
                const auto own = [&](const std::vector<int64_t>& values) {
                    return values[values.size() == 1 ? 0 : channel] * source.pixels;
                };
                const int64_t unit = int64_t(1) << neuron->shift;
                for (int64_t current : {source.interval.low[channel], source.interval.high[channel]})
                    added = std::max<int64_t>(added, std::abs(current * unit + own(neuron->bias)));
                removed = std::max(removed, own(neuron->step) * neuron->levels);
            }
            most[index] = added + removed;
        } else if (std::holds_alternative<Output>(node.operation)) {
            most[index] = reaches[size_t(node.inputs[0])].interval.magnitude;
        }
    }
    return most;
}

}  // namespace

void write_state(const Executor& executor, const Settings& settings, int32_t steps, uint8_t* to) {
    const int32_t header[] = {
        kMark, steps, int32_t(settings.batch), int32_t(settings.height), int32_t(settings.width)};
    static_assert(sizeof header == kStateHeader);
    std::memcpy(to, header, sizeof header);
    executor.save_state(to + sizeof header);
}

int32_t read_state(const Network& network, const std::vector<Shape>& shapes,
                   const Settings& settings, const uint8_t* from, size_t size,
                   Executor& executor) {
    int32_t header[5];
    const bool whole = size == kStateHeader + executor.state_size();
    if (whole) std::memcpy(header, from, sizeof header);
    if (!whole || header[0] != kMark || header[2] != settings.batch ||
        header[3] != settings.height || header[4] != settings.width)
        throw Error(SPK_BAD_ARGUMENT,
                    "the state is of another network, batch or size; save it from a session like "
                    "this one");
    const int32_t steps = header[1];
    bool reachable = steps >= 0 && steps <= network.input().steps;
    const std::vector<int64_t> most = movements(network);
    const uint8_t* at = from + kStateHeader;
    for (size_t index = 0; index < network.nodes.size() && reachable; index++) {
        const Operation& operation = network.nodes[index].operation;
        const Neuron* neuron = std::get_if<Neuron>(&operation);
        if (!(neuron && neuron->steps > 1) && !std::holds_alternative<Output>(operation)) continue;
        const int64_t count = settings.batch * shapes[index].elements();
        for (int64_t i = 0; i < count; i++, at += sizeof(int32_t)) {
            int32_t value;
            std::memcpy(&value, at, sizeof value);
            reachable &= std::abs(int64_t(value)) <= most[index] * steps;
        }
    }
    if (!reachable)
        throw Error(SPK_BAD_ARGUMENT,
                    "the state is damaged: no inputs lead to it; save it again");
    executor.load_state(from + kStateHeader);
    return steps;
}

}  // namespace spk
