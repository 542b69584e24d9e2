// An epilogue at random, and what it must leave of given sums.
#pragma once

#include <cstdio>
#include <list>
#include <string>

#include "tests/random_maps.hpp"

namespace spk::tests {

// Sums [pixels][channels] of a layer in 64 bits.
struct Sums {
    int32_t images, channels, height, width;
    std::vector<int64_t> values;

    int64_t pixels() const { return int64_t(images) * height * width; }
    int64_t magnitude() const {
        int64_t largest = 1;
        for (int64_t value : values) largest = std::max(largest, std::abs(value));
        return largest;
    }
};

class CheckedEpilogue {
public:
    Epilogue epilogue;

    CheckedEpilogue(const Sums& sums, Random& random) {
        epilogue.channels = sums.channels;
        const int32_t stride = round_up(sums.channels, kCurrentLanes);
        const int64_t magnitude = sums.magnitude();
        if (random.chance(0.5)) {
            for (int i = 0; i < 3; ++i) shifts_.emplace_back(stride);
            for (int32_t channel = 0; channel < sums.channels; ++channel) {
                const int64_t shift = random.between(magnitude < (1 << 24) ? -3 : 0, 5);
                shifts_[0][channel] = int32_t(std::max<int64_t>(0, -shift));
                shifts_[1][channel] = int32_t(random.between(-magnitude, magnitude));
                shifts_[2][channel] = int32_t(std::max<int64_t>(0, shift));
            }
            epilogue.left = shifts_[0].data();
            epilogue.bias = shifts_[1].data();
            epilogue.right = shifts_[2].data();
        }
        const int64_t stages = random.between(1, 2);
        for (int64_t i = 0; i < stages; ++i) {
            Stage stage;
            if (random.chance(0.4)) stage.add = add_map(sums, magnitude, random);
            if (random.chance(0.4)) {
                const bool in_place = stage.add && random.chance(0.5);
                stage.keep = in_place ? const_cast<CurrentMap*>(stage.add)
                                      : add_map(sums, magnitude, random);
            }
            const int64_t neurons = random.between(stage.keep ? 0 : 1, 2);
            for (int64_t neuron = 0; neuron < neurons; ++neuron) {
                firings_.push_back(make_firing(
                    sums.images, sums.channels, sums.height, sums.width, magnitude, random));
                stage.neurons.push_back(firings_.back().firing);
            }
            epilogue.stages.push_back(stage);
        }
    }

    // Before the kernel runs: what it must leave.
    void expect(const Sums& sums) {
        const int64_t pixels = sums.pixels();
        std::vector<int64_t> current = sums.values;
        for (int64_t i = 0; i < pixels * sums.channels; ++i) {
            const int32_t channel = int32_t(i % sums.channels);
            if (!epilogue.left) break;
            current[i] = (current[i] * (int64_t(1) << epilogue.left[channel]) + epilogue.bias[channel]) >>
                         epilogue.right[channel];
        }
        auto firing = firings_.begin();
        // Maps are added as the kernel finds them: what an earlier stage kept, too.
        for (const Stage& stage : epilogue.stages) {
            for (int64_t i = 0; i < pixels * sums.channels; ++i) {
                const int64_t pixel = i / sums.channels, channel = i % sums.channels;
                if (stage.add) current[i] += stage.add->pixel(pixel)[channel];
            }
            if (stage.keep) kept_.push_back({stage.keep, current});
            for (size_t neuron = 0; neuron < stage.neurons.size(); ++neuron, ++firing) {
                expect_counts(*firing, current, sums);
            }
        }
    }

    // Integers that differ from what was expected.
    int64_t differing(const Sums& sums) const {
        int64_t differing = 0;
        for (const auto& [map, expected] : kept_) {
            for (size_t i = 0; i < expected.size(); ++i) {
                const int64_t pixel = int64_t(i) / sums.channels;
                const int64_t channel = int64_t(i) % sums.channels;
                differing += map->pixel(pixel)[channel] != int32_t(expected[i]);
            }
        }
        auto expected = counts_.begin();
        for (const OwnedFiring& firing : firings_) {
            differing += differing_counts(firing, *expected++, sums.channels);
        }
        return differing;
    }

private:
    struct ExpectedCounts {
        AlignedArray<uint8_t> bytes;  // with border and padding
        std::vector<int64_t> membrane;
        int64_t nonzeros = 0;
    };

    CurrentMap* add_map(const Sums& sums, int64_t magnitude, Random& random) {
        currents_.push_back(make_currents(sums.images, sums.channels, sums.height, sums.width));
        CurrentMap& map = currents_.back().map;
        for (int64_t i = 0; i < map.pixels() * map.stride; ++i) {
            map.data[i] = int32_t(random.between(-magnitude, magnitude));
        }
        return &map;
    }

    void expect_counts(
        const OwnedFiring& owned, const std::vector<int64_t>& current, const Sums& sums) {
        const Firing& firing = owned.firing;
        const int32_t stride = round_up(sums.channels, kCurrentLanes);
        ExpectedCounts expected;
        expected.bytes = AlignedArray<uint8_t>(owned.to.memory.size());
        CountMap map = firing.to;
        map.data = expected.bytes.data();
        for (int64_t pixel = 0; pixel < sums.pixels(); ++pixel) {
            const int64_t x = pixel % sums.width, y = pixel / sums.width % sums.height;
            uint8_t* to = map.pixel(pixel / sums.width / sums.height, y, x);
            for (int32_t channel = 0; channel < sums.channels; ++channel) {
                int64_t potential = current[pixel * sums.channels + channel];
                if (firing.membrane) {
                    const int64_t rest = owned.membrane[pixel * stride + channel];
                    const int64_t share = rest >> firing.leak.shift;
                    potential = potential * (1 << firing.shift);
                    potential += firing.bias ? firing.bias[channel] : 0;
                    if (firing.leak.kind == LeakKind::all) potential += rest;
                    if (firing.leak.kind == LeakKind::share) potential += share;
                    if (firing.leak.kind == LeakKind::rest) potential += rest - share;
                }
                int32_t count = 0;
                for (int32_t level = 0; level < firing.levels; ++level) {
                    count += potential > firing.below[level * stride + channel];
                }
                to[channel] = uint8_t(count);
                expected.nonzeros += count != 0;
                if (!firing.membrane) continue;
                expected.membrane.push_back(
                    firing.resets_hard ? (count ? 0 : potential)
                                       : potential - int64_t(count) * firing.step[channel]);
            }
        }
        counts_.push_back(std::move(expected));
    }

    static int64_t differing_counts(
        const OwnedFiring& firing, const ExpectedCounts& expected, int32_t channels) {
        int64_t differing = firing.to.nonzeros->load() != expected.nonzeros;
        for (size_t i = 0; i < firing.to.memory.size(); ++i) {
            differing += firing.to.memory[i] != expected.bytes[i];
        }
        const int32_t stride = round_up(channels, kCurrentLanes);
        for (size_t i = 0; i < expected.membrane.size(); ++i) {
            const size_t pixel = i / channels, channel = i % channels;
            differing += firing.firing.membrane[pixel * stride + channel] != expected.membrane[i];
        }
        return differing;
    }

    std::vector<AlignedArray<int32_t>> shifts_;
    std::list<OwnedCurrents> currents_;
    std::list<OwnedFiring> firings_;
    std::list<std::pair<const CurrentMap*, std::vector<int64_t>>> kept_;
    std::list<ExpectedCounts> counts_;
};

}  // namespace spk::tests
