// From a planned step to one that runs.
#include <algorithm>

#include "engine/session.hpp"
#include "engine/synapse_step.hpp"

namespace spk {
namespace {

// What a neuron's bias and thresholds count: the pixels that its current is the sum of.
int64_t summed_pixels(const Network& network, const std::vector<Shape>& shapes, int32_t node) {
    const Node& source = network.nodes[size_t(node)];
    if (std::holds_alternative<Pool>(source.operation)) {
        return shapes[size_t(source.inputs[0])].pixels();
    }
    const Attention* attention = std::get_if<Attention>(&source.operation);
    return attention && attention->mean ? shapes[size_t(source.inputs[1])].pixels() : 1;
}

class SumOverTime : public Step {
public:
    SumOverTime(const Value& from, std::vector<int32_t>& sums)
        : from_(from), sums_(sums), spare_(size_t(from.channels())) {}

    void run(Workshop&) override {
        const int64_t size = from_.pixels_of_image();
        for (int64_t pixel = 0; pixel < size * from_.images(); ++pixel) {
            const int32_t* from = from_.read(pixel, spare_.data());
            int32_t* to = sums_.data() + pixel / size * size * from_.channels() + pixel % size;
            for (int32_t c = 0; c < from_.channels(); ++c) to[c * size] += from[c];
        }
    }

private:
    const Value& from_;
    std::vector<int32_t>& sums_;
    std::vector<int32_t> spare_;
};

class AttentionStep : public Step {
public:
    AttentionStep(const StepSite& site, std::unique_ptr<AttentionKernel> kernel)
        : inputs_(site.inputs), epilogue_(site.epilogue), kernel_(std::move(kernel)) {}

    void run(Workshop& workshop) override {
        kernel_->run(
            inputs_[0]->counts, inputs_[1]->counts, inputs_[2]->counts, epilogue_,
            workshop.threads);
    }
    std::string form() const override { return "attention"; }

private:
    std::vector<const Value*> inputs_;
    const Epilogue& epilogue_;
    std::unique_ptr<AttentionKernel> kernel_;
};

int32_t highest(const Reach& reach) {
    return int32_t(
        *std::max_element(reach.interval.high.begin(), reach.interval.high.end()));
}

}  // namespace

void Session::build(const PlannedStep& planned, Layer& layer) {
    layer.plan = &planned;
    layer.epilogue = std::make_unique<Epilogue>();
    for (const PlannedStage& stage : planned.stages) {
        layer.neurons.insert(layer.neurons.end(), stage.neurons.begin(), stage.neurons.end());
    }
    build_epilogue(planned, layer);
    layer.step = make_step(planned, layer);
}

void Session::build_epilogue(const PlannedStep& planned, Layer& layer) {
    Epilogue& epilogue = *layer.epilogue;
    epilogue.channels = int32_t(plan_.shapes[size_t(planned.node)].channels);
    const Node& node = network_->nodes[size_t(planned.node)];
    const Synapse* synapse = std::get_if<Synapse>(&node.operation);
    const auto any = [](const std::vector<int32_t>& values) {
        return std::any_of(values.begin(), values.end(), [](int32_t value) { return value != 0; });
    };
    if (synapse && !planned.fires_alone && (any(synapse->shift) || any(synapse->bias))) {
        const size_t stride = size_t(round_up(epilogue.channels, kCurrentLanes));
        layer.left = AlignedArray<int32_t>(stride);
        layer.bias = AlignedArray<int32_t>(stride);
        layer.right = AlignedArray<int32_t>(stride);
        for (size_t c = 0; c < size_t(epilogue.channels); ++c) {
            layer.left[c] = std::max(synapse->shift[c], 0);
            layer.right[c] = std::max(-synapse->shift[c], 0);
            layer.bias[c] = synapse->bias[c];
        }
        epilogue.left = layer.left.data();
        epilogue.bias = layer.bias.data();
        epilogue.right = layer.right.data();
    }
    for (size_t i = 0; i < planned.stages.size(); ++i) {
        const PlannedStage& planned_stage = planned.stages[i];
        Stage stage;
        if (planned_stage.added >= 0) stage.add = &values_[planned_stage.added].currents;
        Value& own = values_[planned_stage.node];
        const bool there = i == 0 && planned.fires_alone;
        if (own.layout == Layout::currents && !there) stage.keep = &own.currents;
        for (const int32_t neuron : planned_stage.neurons) {
            const int64_t pixels = summed_pixels(*network_, plan_.shapes, planned_stage.node);
            membranes_[size_t(neuron)] = std::make_unique<Membranes>(
                std::get<Neuron>(network_->nodes[size_t(neuron)].operation),
                values_[neuron].counts, pixels);
            stage.neurons.push_back(membranes_[size_t(neuron)]->firing());
        }
        epilogue.stages.push_back(std::move(stage));
    }
}

std::unique_ptr<Step> Session::make_step(const PlannedStep& planned, const Layer& layer) {
    const Node& node = network_->nodes[size_t(planned.node)];
    const Shape& shape = plan_.shapes[size_t(planned.node)];
    std::vector<const Value*> inputs;
    if (planned.fires_alone) {
        inputs.push_back(&values_[planned.node]);
    } else {
        for (const int32_t input : node.inputs) inputs.push_back(&values_[input]);
    }
    static const Value kNone;
    const Value& to = planned.fires_alone ? kNone : values_[planned.node];
    const StepSite site{
        settings_.batch * shape.pixels(), int32_t(shape.channels), *layer.epilogue, to, inputs,
        *network_, node};
    if (planned.fires_alone) return make_copy(site);

    struct Maker {
        Session& session;
        const StepSite& site;

        std::unique_ptr<Step> operator()(const Input&) { return nullptr; }
        std::unique_ptr<Step> operator()(const Neuron&) { return nullptr; }
        std::unique_ptr<Step> operator()(const Synapse&) { return session.make_synapse(site); }
        std::unique_ptr<Step> operator()(const CurrentProduct&) {
            return make_current_product(site);
        }
        std::unique_ptr<Step> operator()(const Attention&) { return session.make_attention(site); }
        std::unique_ptr<Step> operator()(const Add&) { return make_add(site); }
        std::unique_ptr<Step> operator()(const Gate&) { return make_gate(site); }
        std::unique_ptr<Step> operator()(const SpikeSum&) { return make_spike_sum(site); }
        std::unique_ptr<Step> operator()(const Pool&) { return make_pool(site); }
        std::unique_ptr<Step> operator()(const MaxPool&) { return make_max_pool(site); }
        std::unique_ptr<Step> operator()(const Embedding&) { return make_embedding(site); }
        std::unique_ptr<Step> operator()(const Position&) { return make_position(site); }
        std::unique_ptr<Step> operator()(const Resize&) { return make_resize(site); }
        std::unique_ptr<Step> operator()(const Sample&) { return make_sample(site); }
        std::unique_ptr<Step> operator()(const MaskProduct&) { return make_mask_product(site); }
        std::unique_ptr<Step> operator()(const Output&) {
            const size_t index = size_t(&site.node - session.network_->nodes.data());
            return std::make_unique<SumOverTime>(*site.inputs[0], session.sums_[index]);
        }
    };
    return std::visit(Maker{*this, site}, node.operation);
}

std::unique_ptr<Step> Session::make_synapse(const StepSite& site) {
    const Value& from = *site.inputs[0];
    if (!from.is_counts()) return make_synapse_of_currents(site);
    const Synapse& synapse = std::get<Synapse>(site.node.operation);
    const Shape& shape = plan_.shapes[size_t(&site.node - network_->nodes.data())];
    const Interval& reach = plan_.reaches[size_t(site.node.inputs[0])].interval;
    Convolution convolution{};
    convolution.outputs = synapse.outputs;
    convolution.inputs = from.counts.channels;
    convolution.side = std::max(synapse.side, 1);
    convolution.stride = synapse.stride;
    convolution.padding = synapse.padding;
    convolution.groups = synapse.groups;
    convolution.lowest = int32_t(*std::min_element(reach.low.begin(), reach.low.end()));
    convolution.highest = int32_t(*std::max_element(reach.high.begin(), reach.high.end()));
    convolution.zero = from.counts.zero;
    convolution.images = from.counts.images;
    convolution.height = int32_t(shape.height);
    convolution.width = int32_t(shape.width);
    convolution.threads = settings_.threads;
    return std::make_unique<SynapseStep>(
        workshop_.set, settings_.form, synapse, convolution, from.counts, site.epilogue);
}

std::unique_ptr<Step> Session::make_attention(const StepSite& site) {
    for (const Value* input : site.inputs) {
        if (!input->is_counts()) return make_attention_of_currents(site);
    }
    AttentionShape shape{};
    const CountMap &query = site.inputs[0]->counts, &key = site.inputs[1]->counts;
    shape.images = query.images;
    shape.channels = query.channels;
    shape.values = site.inputs[2]->counts.channels;
    shape.heads = std::get<Attention>(site.node.operation).heads;
    shape.queries = query.height * query.width;
    shape.tokens = key.height * key.width;
    shape.highest_query = highest(plan_.reaches[size_t(site.node.inputs[0])]);
    shape.highest_key = highest(plan_.reaches[size_t(site.node.inputs[1])]);
    shape.highest_value = highest(plan_.reaches[size_t(site.node.inputs[2])]);
    shape.threads = settings_.threads;
    std::unique_ptr<AttentionKernel> kernel = workshop_.set.make_attention(shape);
    if (!kernel) kernel = generic_set().make_attention(shape);
    return std::make_unique<AttentionStep>(site, std::move(kernel));
}

}  // namespace spk
