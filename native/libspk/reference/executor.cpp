// Runs the nodes one after the other, each by itself: the definition in C++.
#include "executor.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "reference/nodes.hpp"

namespace spk {

namespace {

using reference::Value;

// What a value's neuron multiplies by: the pixels that the value is a sum over.
int64_t summed_pixels(const Node& node, const std::vector<Shape>& shapes) {
    if (std::holds_alternative<Pool>(node.operation))
        return shapes[size_t(node.inputs[0])].pixels();
    const Attention* attention = std::get_if<Attention>(&node.operation);
    return attention && attention->mean ? shapes[size_t(node.inputs[1])].pixels() : 1;
}

class Reference : public Executor {
public:
    Reference(std::shared_ptr<const Network> network, const Settings& settings)
        : network_(std::move(network)),
          batch_(settings.batch),
          shapes_(infer_shapes(*network_, settings.height, settings.width)),
          values_(network_->nodes.size()),
          weights_(network_->nodes.size()),
          membranes_(network_->nodes.size()),
          sums_(network_->nodes.size()),
          last_use_(network_->nodes.size()),
          microseconds_(network_->nodes.size()),
          nonzero_(network_->nodes.size()) {
        for (size_t index = 0; index < network_->nodes.size(); index++) {
            const Node& node = network_->nodes[index];
            const size_t elements = size_t(batch_ * shapes_[index].elements());
            for (int32_t input : node.inputs) last_use_[size_t(input)] = index;
            if (const Synapse* synapse = std::get_if<Synapse>(&node.operation))
                weights_[index] = synapse->weight();
            if (const Neuron* neuron = std::get_if<Neuron>(&node.operation); neuron)
                if (neuron->steps > 1) membranes_[index].resize(elements);
            if (std::holds_alternative<Output>(node.operation)) sums_[index].resize(elements);
        }
    }

    void reset() override {
        for (auto* kept : {&membranes_, &sums_})
            for (auto& values : *kept) std::fill(values.begin(), values.end(), 0);
        std::fill(microseconds_.begin(), microseconds_.end(), 0.0);
        std::fill(nonzero_.begin(), nonzero_.end(), 0);
        steps_ = 0;
    }

    void step(const float* frame, const Observer& observe) override {
        if (frame) {
            image_ = Value(batch_, shapes_[0]);
            reference::quantise(network_->input(), frame, image_);
        }
        steps_++;
        for (size_t index = 0; index < network_->nodes.size(); index++) {
            const Node& node = network_->nodes[index];
            const auto start = std::chrono::steady_clock::now();
            Value& result = values_[index] = Value(batch_, shapes_[index]);
            std::visit([&](const auto& operation) { run(operation, index, result); },
                       node.operation);
            const std::chrono::duration<double, std::micro> taken =
                std::chrono::steady_clock::now() - start;
            microseconds_[index] += taken.count();
            if (std::holds_alternative<Neuron>(node.operation)) show(int32_t(index), observe);
            for (int32_t input : node.inputs)
                if (last_use_[size_t(input)] == index) values_[size_t(input)] = Value();
            if (last_use_[index] == 0) result = Value();
        }
    }

    void read_output(int32_t node, int32_t* to) const override {
        const Node& output = network_->nodes[size_t(node)];
        const std::vector<int64_t>& sum = sums_[size_t(node)];
        const Shape& shape = shapes_[size_t(node)];
        if (!std::get<Output>(output.operation).of_queries) {
            std::copy(sum.begin(), sum.end(), to);
            return;
        }
        const int64_t queries = shape.pixels();
        for (int64_t sample = 0; sample < batch_; sample++)
            for (int64_t query = 0; query < queries; query++)
                for (int64_t channel = 0; channel < shape.channels; channel++)
                    *to++ = int32_t(
                        sum[size_t((sample * shape.channels + channel) * queries + query)]);
    }

    size_t state_size() const override {
        size_t count = 0;
        for (size_t index = 0; index < sums_.size(); index++)
            count += membranes_[index].size() + sums_[index].size();
        return count * sizeof(int32_t);
    }

    void save_state(uint8_t* to) const override {
        for (size_t index = 0; index < sums_.size(); index++) {
            for (const auto* values : {&membranes_[index], &sums_[index]}) {
                for (int64_t value : *values) {
                    const int32_t narrow = int32_t(value);
                    std::memcpy(to, &narrow, sizeof narrow);
                    to += sizeof narrow;
                }
            }
        }
    }

    void load_state(const uint8_t* from) override {
        for (size_t index = 0; index < sums_.size(); index++) {
            for (auto* values : {&membranes_[index], &sums_[index]}) {
                for (int64_t& value : *values) {
                    int32_t narrow;
                    std::memcpy(&narrow, from, sizeof narrow);
                    value = narrow;
                    from += sizeof narrow;
                }
            }
        }
    }

    std::string report() const override {
        std::string lines;
        for (size_t index = 0; index < network_->nodes.size(); index++) {
            const Node& node = network_->nodes[index];
            char share[32] = "-";
            if (std::holds_alternative<Neuron>(node.operation) && steps_ > 0) {
                const int64_t counts = batch_ * shapes_[index].elements() * steps_;
                std::snprintf(share, sizeof share, "%.4f", double(nonzero_[index]) / double(counts));
            }
            char microseconds[32];
            std::snprintf(microseconds, sizeof microseconds, "%.1f", microseconds_[index]);
            lines += node.name + "\treference\tnode\t" + share + "\t" + microseconds + "\n";
        }
        return lines;
    }

private:
    const Value& input(size_t index, size_t place) const {
        return values_[size_t(network_->nodes[index].inputs[place])];
    }

    void run(const Input&, size_t, Value& result) { result = image_; }
    void run(const Synapse& node, size_t index, Value& result) {
        reference::weigh(node, weights_[index], input(index, 0), result);
    }
    void run(const Neuron& node, size_t index, Value& result) {
        const Node& source = network_->nodes[size_t(network_->nodes[index].inputs[0])];
        reference::fire(node, input(index, 0), summed_pixels(source, shapes_), membranes_[index],
                        result);
    }
    void run(const Add&, size_t index, Value& result) {
        reference::add(input(index, 0), input(index, 1), result);
    }
    void run(const Gate&, size_t index, Value& result) {
        reference::gate(input(index, 0), input(index, 1), result);
    }
    void run(const SpikeSum& node, size_t index, Value& result) {
        reference::sum_spikes(node, input(index, 0), result);
    }
    void run(const CurrentProduct& node, size_t index, Value& result) {
        reference::sum_currents(node, input(index, 0), input(index, 1), result);
    }
    void run(const Attention& node, size_t index, Value& result) {
        reference::attend(node, input(index, 0), input(index, 1), input(index, 2), result);
    }
    void run(const Pool&, size_t index, Value& result) {
        reference::pool(input(index, 0), result);
    }
    void run(const MaxPool& node, size_t index, Value& result) {
        reference::take_maxima(node, input(index, 0), result);
    }
    void run(const Embedding& node, size_t, Value& result) { reference::embed(node, result); }
    void run(const Position& node, size_t, Value& result) { reference::place(node, result); }
    void run(const Resize&, size_t index, Value& result) {
        reference::resize(input(index, 0), result);
    }
    void run(const Sample& node, size_t index, Value& result) {
        reference::sample(node, input(index, 0), input(index, 1), input(index, 2), result);
    }
    void run(const MaskProduct& node, size_t index, Value& result) {
        reference::multiply_masks(node, input(index, 0), input(index, 1), result);
    }
    void run(const Output&, size_t index, Value& result) {
        result = input(index, 0);
        for (size_t i = 0; i < result.data.size(); i++) sums_[index][i] += result.data[i];
    }

    void show(int32_t index, const Observer& observe) {
        const std::vector<int64_t>& counts = values_[size_t(index)].data;
        nonzero_[size_t(index)] +=
            int64_t(counts.size()) - std::count(counts.begin(), counts.end(), 0);
        if (!observe) return;
        const std::vector<uint8_t> bytes(counts.begin(), counts.end());
        observe(index, bytes.data(), bytes.size());
    }

    const std::shared_ptr<const Network> network_;
    const int64_t batch_;
    const std::vector<Shape> shapes_;
    Value image_;
    std::vector<Value> values_;
    std::vector<std::vector<int8_t>> weights_;
    std::vector<std::vector<int64_t>> membranes_, sums_;
    std::vector<size_t> last_use_;
    std::vector<double> microseconds_;
    std::vector<int64_t> nonzero_;
    int64_t steps_ = 0;
};

}  // namespace

std::unique_ptr<Executor> make_reference(
    std::shared_ptr<const Network> network, const Settings& settings) {
    return std::make_unique<Reference>(std::move(network), settings);
}

}  // namespace spk
