#include "engine/membranes.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace spk {
namespace {

constexpr int64_t kLowest = std::numeric_limits<int32_t>::min();
constexpr int64_t kHighest = std::numeric_limits<int32_t>::max();
// From here a multiplication and a rounding are quicker than a comparison per level.
constexpr int32_t kLevelsToRound = 6;

int32_t clamped(int64_t value) { return int32_t(std::clamp(value, kLowest, kHighest)); }

// The low 32 bits, in which additions wrap.
int32_t wrapped(int64_t value) { return int32_t(uint32_t(uint64_t(value))); }

// The largest current X of 32 bits with (X << shift) < value * pixels.
int32_t largest_below(int64_t value, int64_t pixels, int32_t shift) {
    const int64_t bound = int64_t(1) << std::min(31 + shift, 62);
    if (value > bound / pixels + 1) return int32_t(kHighest);
    if (value < -(bound / pixels + 1)) return int32_t(kLowest);
    const int64_t total = value * pixels;
    // (total - 1) >> shift is the largest X with X << shift <= total - 1.
    return clamped((total - 1) >> shift);
}

template <typename Element>
const Element& of_channel(const std::vector<Element>& values, int32_t channel) {
    return values[values.size() == 1 ? 0 : size_t(channel)];
}

}  // namespace

Membranes::Membranes(const Neuron& neuron, const CountMap& to, int64_t pixels)
    : stride_(round_up(to.channels, kCurrentLanes)) {
    const int32_t levels = neuron.levels;
    const bool remembers = neuron.steps > 1;
    const size_t rows = neuron.thresholds.size() / size_t(levels);
    below_ = AlignedArray<int32_t>(size_t(levels) * size_t(stride_));
    for (int32_t level = 0; level < levels; ++level) {
        for (int32_t c = 0; c < stride_; ++c) {
            int32_t& below = below_[size_t(level) * size_t(stride_) + size_t(c)];
            if (c >= to.channels) {
                below = int32_t(kHighest);
                continue;
            }
            const size_t row = rows == 1 ? 0 : size_t(c);
            const int64_t threshold = neuron.thresholds[row * size_t(levels) + size_t(level)];
            below = remembers
                        ? largest_below(threshold, pixels, 0)
                        : largest_below(
                              threshold - of_channel(neuron.bias, c), pixels, neuron.shift);
        }
    }
    firing_.levels = levels;
    firing_.below = below_.data();
    firing_.to = to;
    if (!remembers) {
        if (!neuron.rounding || levels < kLevelsToRound) return;
        gain_ = AlignedArray<float>(size_t(stride_));
        offset_ = AlignedArray<float>(size_t(stride_));
        for (int32_t c = 0; c < to.channels; ++c) {
            gain_[size_t(c)] = of_channel(neuron.rounding->gain, c);
            offset_[size_t(c)] = of_channel(neuron.rounding->offset, c);
        }
        firing_.gain = gain_.data();
        firing_.offset = offset_.data();
        return;
    }
    step_ = AlignedArray<int32_t>(size_t(stride_));
    bias_ = AlignedArray<int32_t>(size_t(stride_));
    bool biased = false;
    for (int32_t c = 0; c < to.channels; ++c) {
        step_[size_t(c)] = wrapped(of_channel(neuron.step, c) * pixels);
        bias_[size_t(c)] = wrapped(of_channel(neuron.bias, c) * pixels);
        biased |= bias_[size_t(c)] != 0;
    }
    membrane_ = AlignedArray<int32_t>(size_t(to.pixels() * stride_));
    firing_.step = step_.data();
    firing_.bias = biased ? bias_.data() : nullptr;
    firing_.membrane = membrane_.data();
    firing_.shift = neuron.shift;
    firing_.leak = neuron.leak;
    firing_.resets_hard = neuron.resets_hard;
}

void Membranes::reset() {
    if (has_state()) std::memset(membrane_.data(), 0, membrane_.size() * sizeof(int32_t));
}

template <typename Visit>
void Membranes::visit(Visit visit) const {
    const CountMap& map = firing_.to;
    const int64_t size = int64_t(map.height) * map.width;
    int64_t index = 0;
    for (int64_t image = 0; image < map.images; ++image) {
        for (int32_t c = 0; c < map.channels; ++c) {
            for (int64_t pixel = image * size; pixel < (image + 1) * size; ++pixel) {
                visit(index++, membrane_[size_t(pixel * stride_ + c)]);
            }
        }
    }
}

void Membranes::save(int32_t* to) const {
    visit([&](int64_t index, const int32_t& membrane) { to[index] = membrane; });
}

void Membranes::load(const int32_t* from) {
    visit([&](int64_t index, int32_t& membrane) { membrane = from[index]; });
}

}  // namespace spk
