#include "engine/plan.hpp"

#include <algorithm>

namespace spk {
namespace {

template <typename Kind>
bool is(const Node& node) {
    return std::holds_alternative<Kind>(node.operation);
}

std::vector<std::vector<int32_t>> readers_of(const Network& network) {
    std::vector<std::vector<int32_t>> readers(network.nodes.size());
    for (size_t node = 0; node < network.nodes.size(); ++node) {
        for (const int32_t source : values_read(network.nodes[node])) {
            std::vector<int32_t>& those = readers[source];
            if (those.empty() || those.back() != int32_t(node)) those.push_back(int32_t(node));
        }
    }
    return readers;
}

std::vector<Pace> paces_of(const Network& network, bool presents) {
    std::vector<Pace> paces;
    for (const Node& node : network.nodes) {
        Pace pace = Pace::constant;
        if (is<Input>(node)) {
            pace = presents ? Pace::still : Pace::moving;
        }
        for (const int32_t source : values_read(node)) pace = std::max(pace, paces[source]);
        const Neuron* neuron = std::get_if<Neuron>(&node.operation);
        if ((neuron && neuron->steps > 1) || is<Output>(node)) pace = Pace::moving;
        paces.push_back(pace);
    }
    return paces;
}

bool fits_bytes(const Interval& interval) {
    return *std::min_element(interval.low.begin(), interval.low.end()) >= 0 &&
           *std::max_element(interval.high.begin(), interval.high.end()) <= 255;
}

Layout layout_of(const Node& node, const Reach& reach, const std::vector<Layout>& layouts) {
    if (const Input* input = std::get_if<Input>(&node.operation)) {
        const bool as_bytes = (input->low >= 0 && input->high <= 255) ||
                              (input->low >= -128 && input->high <= 127);
        return as_bytes ? Layout::counts : Layout::currents;
    }
    if (is<Neuron>(node)) return Layout::counts;
    if (is<Output>(node)) return Layout::none;
    const bool of_counts =
        (is<Add>(node) || is<Gate>(node) || is<MaxPool>(node)) && fits_bytes(reach.interval) &&
        std::all_of(node.inputs.begin(), node.inputs.end(), [&](int32_t source) {
            return layouts[source] == Layout::counts;
        });
    return of_counts ? Layout::counts : Layout::currents;
}

// Gathers nodes into steps: each ends with the additions and neurons that read its result.
class Fusion {
public:
    Fusion(const Network& network, Plan& plan)
        : network_(network), plan_(plan), done_(network.nodes.size()) {}

    void run() {
        for (int32_t node = 0; node < int32_t(network_.nodes.size()); ++node) {
            if (!done_[node]) plan_.steps.push_back(step_from(node));
        }
    }

private:
    PlannedStep step_from(int32_t node) {
        if (is<Neuron>(network_.nodes[node])) {
            const int32_t source = network_.nodes[node].inputs[0];
            PlannedStep step{source, true, plan_.paces[node], {PlannedStage{source, -1, {}}}};
            fire(step.stages.back(), step.pace);
            return step;
        }
        done_[node] = true;
        PlannedStep step{node, false, plan_.paces[node], {PlannedStage{node, -1, {}}}};
        if (plan_.layouts[node] != Layout::currents) return step;
        for (;;) {
            fire(step.stages.back(), step.pace);
            const PlannedStage next = addition_to(step);
            if (next.node < 0) return step;
            done_[next.node] = true;
            step.stages.push_back(next);
        }
    }

    void fire(PlannedStage& stage, Pace pace) {
        for (const int32_t reader : plan_.readers[stage.node]) {
            if (done_[reader] || !is<Neuron>(network_.nodes[reader])) continue;
            if (plan_.paces[reader] != pace) continue;
            done_[reader] = true;
            stage.neurons.push_back(reader);
        }
    }

    // An addition to the step's last value whose other term is in memory by then.
    PlannedStage addition_to(const PlannedStep& step) const {
        const int32_t value = step.stages.back().node;
        for (const int32_t reader : plan_.readers[value]) {
            const Node& node = network_.nodes[reader];
            if (done_[reader] || !is<Add>(node) || plan_.paces[reader] != step.pace) continue;
            const int32_t other = node.inputs[0] == value ? node.inputs[1] : node.inputs[0];
            const bool own = std::any_of(
                step.stages.begin(), step.stages.end(),
                [&](const PlannedStage& stage) { return stage.node == other; });
            const Shape &a = plan_.shapes[value], &b = plan_.shapes[other];
            if (own || !done_[other] || plan_.layouts[other] != Layout::currents) continue;
            if (a.height != b.height || a.width != b.width) continue;
            return {reader, other, {}};
        }
        return {-1, -1, {}};
    }

    const Network& network_;
    Plan& plan_;
    std::vector<bool> done_;
};

// Values that only their own step reads need no memory.
void forget_what_nobody_reads(Plan& plan) {
    for (const PlannedStep& step : plan.steps) {
        for (size_t i = step.fires_alone ? 1 : 0; i < step.stages.size(); ++i) {
            const PlannedStage& stage = step.stages[i];
            const int32_t next = i + 1 < step.stages.size() ? step.stages[i + 1].node : -1;
            const std::vector<int32_t>& readers = plan.readers[stage.node];
            const bool read = std::any_of(readers.begin(), readers.end(), [&](int32_t reader) {
                const auto& own = stage.neurons;
                return reader != next && std::find(own.begin(), own.end(), reader) == own.end();
            });
            if (!read && plan.layouts[stage.node] == Layout::currents) {
                plan.layouts[stage.node] = Layout::none;
            }
        }
    }
}

}  // namespace

std::vector<int32_t> values_read(const Node& node) {
    if (is<Embedding>(node) || is<Position>(node)) return {};
    if (is<Resize>(node)) return {node.inputs[0]};
    return node.inputs;
}

std::vector<int32_t> PlannedStep::reads(const Network& network) const {
    std::vector<int32_t> found;
    if (fires_alone) {
        found.push_back(node);
    } else {
        found = values_read(network.nodes[node]);
    }
    for (const PlannedStage& stage : stages) {
        if (stage.added >= 0) found.push_back(stage.added);
    }
    return found;
}

Plan make_plan(const Network& network, int64_t height, int64_t width, bool presents) {
    Plan plan;
    plan.shapes = infer_shapes(network, height, width);
    plan.reaches = prove_ranges(network);
    plan.readers = readers_of(network);
    plan.paces = paces_of(network, presents && network.input().steps > 1);
    for (size_t node = 0; node < network.nodes.size(); ++node) {
        plan.layouts.push_back(
            layout_of(network.nodes[node], plan.reaches[node], plan.layouts));
    }
    Fusion(network, plan).run();
    forget_what_nobody_reads(plan);
    return plan;
}

}  // namespace spk
