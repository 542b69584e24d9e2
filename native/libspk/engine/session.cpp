#include "engine/session.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>

#include "engine/instruction_sets.hpp"
#include "engine/rounding.hpp"
#include "error.hpp"

namespace spk {

Session::Session(std::shared_ptr<const Network> network, const Settings& settings)
    : network_(std::move(network)),
      settings_(settings),
      plan_(make_plan(*network_, settings.height, settings.width, !settings.frames)),
      threads_(settings.threads),
      workshop_{threads_, instruction_set(settings.kernels), {}},
      values_(*network_, plan_, int32_t(settings.batch)),
      membranes_(network_->nodes.size()),
      sums_(network_->nodes.size()),
      layers_(plan_.steps.size()) {
    for (size_t node = 0; node < network_->nodes.size(); ++node) {
        if (std::holds_alternative<Output>(network_->nodes[node].operation)) {
            sums_[node].resize(size_t(settings.batch * plan_.shapes[node].elements()));
        }
    }
    // Weights are packed by all threads.
    std::vector<std::exception_ptr> faults(layers_.size());
    threads_.run(int64_t(layers_.size()), [&](int64_t index, int) {
        try {
            build(plan_.steps[size_t(index)], layers_[size_t(index)]);
        } catch (...) {
            faults[size_t(index)] = std::current_exception();
        }
    });
    size_t scratch = 0;
    for (size_t index = 0; index < layers_.size(); ++index) {
        if (faults[index]) std::rethrow_exception(faults[index]);
        if (layers_[index].step) scratch = std::max(scratch, layers_[index].step->scratch());
    }
    workshop_.provide(scratch);
    for (Layer& layer : layers_) {
        if (layer.plan->pace == Pace::constant) run(layer);
    }
}

void Session::reset() {
    for (const auto& membranes : membranes_) {
        if (membranes) membranes->reset();
    }
    for (std::vector<int32_t>& sums : sums_) std::fill(sums.begin(), sums.end(), 0);
    for (Layer& layer : layers_) layer.microseconds = 0;
    has_frame_ = false;
}

void Session::step(const float* frame, const Observer& observe) {
    if (!frame && !has_frame_) throw Error(SPK_INTERNAL, "there is no frame to present again");
    if (frame) quantise(frame);
    has_frame_ = true;
    for (Layer& layer : layers_) {
        const Pace pace = layer.plan->pace;
        if (pace == Pace::moving || (pace == Pace::still && frame)) run(layer);
        if (!observe) continue;
        // What others of the same place will overwrite, and what did not change, is shown alike.
        for (const int32_t neuron : layer.neurons) show(neuron, observe);
    }
}

void Session::run(Layer& layer) {
    if (!layer.step) return;
    const auto start = std::chrono::steady_clock::now();
    const PlannedStep& planned = *layer.plan;
    if (!planned.fires_alone) forget_nonzeros(planned.node);
    for (const int32_t neuron : layer.neurons) forget_nonzeros(neuron);
    layer.step->run(workshop_);
    const auto taken = std::chrono::steady_clock::now() - start;
    layer.microseconds += std::chrono::duration<double, std::micro>(taken).count();
    const std::vector<int32_t> reads = planned.reads(*network_);
    const Value* source = reads.empty() ? nullptr : &values_[reads.front()];
    if (source && source->is_counts() && reads.front() != 0) {
        const CountMap& map = source->counts;
        layer.share = double(map.nonzeros->load()) / (double(map.pixels()) * map.channels);
    }
}

void Session::forget_nonzeros(int32_t node) {
    const Value& value = values_[node];
    if (value.is_counts()) value.counts.nonzeros->store(0, std::memory_order_relaxed);
}

void Session::quantise(const float* frame) {
    const Input& input = network_->input();
    const Value& image = values_[0];
    const float scale = std::ldexp(1.0f, input.shift);
    const float low = float(input.low), high = float(input.high);
    const int64_t width = image.width(), size = image.pixels_of_image();
    const auto quantised = [&](float x) {
        const float scaled = x * scale;
        // Not a number becomes the lowest.
        return int32_t(round_half_to_even(scaled > low ? std::min(scaled, high) : low));
    };
    threads_.run(int64_t(image.images()) * image.height(), [&](int64_t line, int) {
        const int64_t picture = line / image.height(), y = line % image.height();
        for (int32_t c = 0; c < input.channels; ++c) {
            const float* from = frame + (picture * input.channels + c) * size + y * width;
            if (image.is_counts()) {
                const CountMap& map = image.counts;
                uint8_t* to = map.pixel(picture, y, 0) + c;
                for (int64_t x = 0; x < width; ++x, to += map.stride) {
                    *to = uint8_t(quantised(from[x]) + map.zero);
                }
            } else if (image.layout == Layout::currents) {
                const CurrentMap& map = image.currents;
                int32_t* to = map.pixel(line * width) + c;
                for (int64_t x = 0; x < width; ++x, to += map.stride) *to = quantised(from[x]);
            }
        }
    });
    if (image.is_counts()) {
        image.counts.nonzeros->store(size * image.images() * input.channels);
    }
}

void Session::show(int32_t neuron, const Observer& observe) {
    const CountMap& map = values_[neuron].counts;
    shown_.resize(size_t(map.pixels() * map.channels));
    uint8_t* to = shown_.data();
    for (int32_t image = 0; image < map.images; ++image) {
        for (int32_t c = 0; c < map.channels; ++c) {
            for (int32_t y = 0; y < map.height; ++y) {
                const uint8_t* from = map.pixel(image, y, 0) + c;
                for (int32_t x = 0; x < map.width; ++x) *to++ = from[int64_t(x) * map.stride];
            }
        }
    }
    observe(neuron, shown_.data(), shown_.size());
}

void Session::read_output(int32_t node, int32_t* to) const {
    const std::vector<int32_t>& sums = sums_[size_t(node)];
    const Shape& shape = plan_.shapes[size_t(node)];
    if (!std::get<Output>(network_->nodes[size_t(node)].operation).of_queries) {
        std::copy(sums.begin(), sums.end(), to);
        return;
    }
    const int64_t queries = shape.pixels();
    for (int64_t image = 0; image < settings_.batch; ++image) {
        for (int64_t query = 0; query < queries; ++query) {
            for (int64_t c = 0; c < shape.channels; ++c) {
                *to++ = sums[size_t((image * shape.channels + c) * queries + query)];
            }
        }
    }
}

size_t Session::state_size() const {
    int64_t count = 0;
    for (size_t node = 0; node < sums_.size(); ++node) {
        count += int64_t(sums_[node].size());
        if (membranes_[node] && membranes_[node]->has_state()) count += membranes_[node]->size();
    }
    return size_t(count) * sizeof(int32_t);
}

void Session::save_state(uint8_t* to) const {
    std::vector<int32_t> kept;
    for (size_t node = 0; node < sums_.size(); ++node) {
        kept = sums_[node];
        if (membranes_[node] && membranes_[node]->has_state()) {
            kept.resize(size_t(membranes_[node]->size()));
            membranes_[node]->save(kept.data());
        }
        for (const int32_t value : kept) {
            for (int32_t byte = 0; byte < 4; ++byte) *to++ = uint8_t(uint32_t(value) >> 8 * byte);
        }
    }
}

void Session::load_state(const uint8_t* from) {
    std::vector<int32_t> kept;
    for (size_t node = 0; node < sums_.size(); ++node) {
        const bool membrane = membranes_[node] && membranes_[node]->has_state();
        kept.resize(membrane ? size_t(membranes_[node]->size()) : sums_[node].size());
        for (int32_t& value : kept) {
            uint32_t bits = 0;
            for (int32_t byte = 0; byte < 4; ++byte) bits |= uint32_t(*from++) << 8 * byte;
            value = int32_t(bits);
        }
        if (membrane) {
            membranes_[node]->load(kept.data());
        } else {
            sums_[node] = kept;
        }
    }
}

std::string Session::report() const {
    std::string lines;
    for (const Layer& layer : layers_) {
        if (!layer.step || layer.plan->pace == Pace::constant) continue;
        char numbers[64];
        if (layer.share < 0) {
            std::snprintf(numbers, sizeof numbers, "-\t%.1f", layer.microseconds);
        } else {
            std::snprintf(
                numbers, sizeof numbers, "%.4f\t%.1f", layer.share, layer.microseconds);
        }
        const int32_t node = layer.plan->fires_alone ? layer.neurons.front() : layer.plan->node;
        lines += network_->nodes[size_t(node)].name + "\t" + workshop_.set.name + "\t" +
                 layer.step->form() + "\t" + numbers + "\n";
    }
    return lines;
}

std::unique_ptr<Executor> make_engine(
    std::shared_ptr<const Network> network, const Settings& settings) {
    return std::make_unique<Session>(std::move(network), settings);
}

}  // namespace spk
