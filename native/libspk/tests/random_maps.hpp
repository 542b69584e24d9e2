// Maps, epilogues and weights at random, for tests of kernels.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/aligned.hpp"
#include "engine/epilogue.hpp"
#include "engine/maps.hpp"

namespace spk::tests {

class Random {
public:
    explicit Random(uint64_t seed) : engine_(seed) {}

    // lowest..highest, both included
    int64_t between(int64_t lowest, int64_t highest) {
        return std::uniform_int_distribution<int64_t>(lowest, highest)(engine_);
    }
    bool chance(double share) { return std::bernoulli_distribution(share)(engine_); }
    template <class T>
    T one_of(std::initializer_list<T> values) {
        return *(values.begin() + between(0, int64_t(values.size()) - 1));
    }

private:
    std::mt19937_64 engine_;
};

// A count map and its memory.
struct OwnedCounts {
    CountMap map;
    AlignedArray<uint8_t> memory;
    std::unique_ptr<std::atomic<int64_t>> nonzeros;
};

inline OwnedCounts make_counts(
    int32_t images, int32_t channels, int32_t height, int32_t width, int32_t border,
    uint8_t zero) {
    OwnedCounts owned;
    CountMap& map = owned.map;
    map.images = images;
    map.channels = channels;
    map.height = height;
    map.width = width;
    map.stride = round_up(channels, kCountLanes);
    map.border = border;
    map.zero = zero;
    owned.memory = AlignedArray<uint8_t>(size_t(images * map.image_bytes()) + 256);
    std::fill_n(owned.memory.data(), owned.memory.size(), zero);
    owned.nonzeros = std::make_unique<std::atomic<int64_t>>(0);
    map.data = owned.memory.data();
    map.nonzeros = owned.nonzeros.get();
    return owned;
}

struct OwnedCurrents {
    CurrentMap map;
    AlignedArray<int32_t> memory;
};

inline OwnedCurrents make_currents(
    int32_t images, int32_t channels, int32_t height, int32_t width) {
    OwnedCurrents owned;
    CurrentMap& map = owned.map;
    map.images = images;
    map.channels = channels;
    map.height = height;
    map.width = width;
    map.stride = round_up(channels, kCurrentLanes);
    owned.memory = AlignedArray<int32_t>(size_t(map.pixels()) * map.stride);
    map.data = owned.memory.data();
    return owned;
}

// Integers lowest..highest, of which about a share is not zero.
inline void fill(
    OwnedCounts& counts, int32_t lowest, int32_t highest, double share, Random& random) {
    const CountMap& map = counts.map;
    int64_t nonzeros = 0;
    for (int32_t image = 0; image < map.images; ++image) {
        for (int32_t y = 0; y < map.height; ++y) {
            for (int32_t x = 0; x < map.width; ++x) {
                for (int32_t channel = 0; channel < map.channels; ++channel) {
                    const int64_t value =
                        random.chance(share) ? random.between(lowest, highest) : 0;
                    map.pixel(image, y, x)[channel] = uint8_t(value + map.zero);
                    nonzeros += value != 0;
                }
            }
        }
    }
    *map.nonzeros = nonzeros;
}

// A neuron at random that reads sums of about a magnitude, and its memory.
struct OwnedFiring {
    Firing firing;
    OwnedCounts to;
    std::vector<AlignedArray<int32_t>> integers;
    std::vector<AlignedArray<float>> reals;
    std::vector<int32_t> membrane;  // before the step
};

inline int32_t count_by_rounding(float gain, float offset, int32_t levels, int64_t current) {
    const float sum = float(current) * gain + offset;
    return int32_t(std::nearbyint(std::clamp(sum, 0.0f, float(levels))));
}

inline OwnedFiring make_firing(
    int32_t images, int32_t channels, int32_t height, int32_t width, int64_t magnitude,
    Random& random) {
    OwnedFiring owned;
    const int32_t stride = round_up(channels, kCurrentLanes);
    owned.to = make_counts(images, channels, height, width, int32_t(random.between(0, 2)), 0);
    Firing& firing = owned.firing;
    firing.to = owned.to.map;
    firing.levels = int32_t(random.one_of({1, 2, 3, 4, 5, 8, 16, 40}));
    AlignedArray<int32_t> below(size_t(firing.levels) * stride);
    std::fill_n(below.data(), below.size(), std::numeric_limits<int32_t>::max());
    const bool over_time = magnitude < (1 << 24) && random.chance(0.4);
    const bool rounds = !over_time && random.chance(0.5);
    if (rounds) {
        AlignedArray<float> gain(stride), offset(stride);
        for (int32_t channel = 0; channel < channels; ++channel) {
            gain[channel] = std::ldexp(1.0f, -int(random.between(0, 12)));
            offset[channel] = float(random.between(-8, 8)) / 4;
            for (int32_t level = 0; level < firing.levels; ++level) {
                int64_t low = -(1 << 22), high = 1 << 22;  // the first integer that reaches it
                while (low < high) {
                    const int64_t middle = (low + high) >> 1;
                    const bool reaches = count_by_rounding(
                        gain[channel], offset[channel], firing.levels, middle) > level;
                    reaches ? high = middle : low = middle + 1;
                }
                below[size_t(level) * stride + channel] = int32_t(low - 1);
            }
        }
        firing.gain = gain.data();
        firing.offset = offset.data();
        owned.reals.push_back(std::move(gain));
        owned.reals.push_back(std::move(offset));
    } else {
        for (int32_t channel = 0; channel < channels; ++channel) {
            int64_t threshold = random.between(-magnitude / 4, magnitude / 4);
            for (int32_t level = 0; level < firing.levels; ++level) {
                below[size_t(level) * stride + channel] = int32_t(threshold);
                threshold += random.between(0, magnitude / firing.levels / 2 + 1);
            }
        }
    }
    firing.below = below.data();
    owned.integers.push_back(std::move(below));
    if (!over_time) return owned;
    AlignedArray<int32_t> membrane(size_t(images) * height * width * stride);
    AlignedArray<int32_t> bias(stride), step(stride);
    for (size_t i = 0; i < membrane.size(); ++i) {
        membrane[i] = int32_t(random.between(-magnitude, magnitude));
    }
    for (int32_t channel = 0; channel < channels; ++channel) {
        bias[channel] = int32_t(random.between(-magnitude / 8, magnitude / 8));
        step[channel] = int32_t(random.between(0, magnitude / firing.levels));
    }
    owned.membrane.assign(membrane.data(), membrane.data() + membrane.size());
    firing.membrane = membrane.data();
    firing.bias = random.chance(0.5) ? bias.data() : nullptr;
    firing.step = step.data();
    firing.shift = int32_t(random.between(0, 2));
    firing.leak = {random.one_of({LeakKind::none, LeakKind::all, LeakKind::share, LeakKind::rest}),
                   int32_t(random.between(1, 3))};
    firing.resets_hard = random.chance(0.4);
    owned.integers.push_back(std::move(membrane));
    owned.integers.push_back(std::move(bias));
    owned.integers.push_back(std::move(step));
    return owned;
}

}  // namespace spk::tests
