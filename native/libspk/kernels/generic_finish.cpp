#include "kernels/generic_finish.hpp"

#include <algorithm>
#include <cstring>

#include "engine/rounding.hpp"

namespace spk {
namespace {

constexpr int32_t kBlock = kCurrentLanes;  // channels at a time

// Additions of currents wrap, which signed integers may not.
int32_t plus(int32_t a, int32_t b) { return int32_t(uint32_t(a) + uint32_t(b)); }
int32_t minus(int32_t a, int32_t b) { return int32_t(uint32_t(a) - uint32_t(b)); }
int32_t shifted(int32_t a, int32_t bits) { return int32_t(uint32_t(a) << bits); }

void count_levels(const Firing& neuron, int32_t stride, const int32_t* below,
                  const int32_t* potential, int32_t* counts) {
    std::fill(counts, counts + kBlock, 0);
    for (int32_t level = 0; level < neuron.levels; ++level, below += stride) {
        for (int32_t i = 0; i < kBlock; ++i) counts[i] += potential[i] > below[i];
    }
}

void round_counts(const Firing& neuron, int32_t channel, const int32_t* current, int32_t* counts) {
    const float most = float(neuron.levels);
    for (int32_t i = 0; i < kBlock; ++i) {
        const float exact =
            float(current[i]) * neuron.gain[channel + i] + neuron.offset[channel + i];
        counts[i] = int32_t(round_half_to_even(std::min(std::max(exact, 0.0f), most)));
    }
}

int32_t leaked(const Leak& leak, int32_t membrane) {
    switch (leak.kind) {
        case LeakKind::none: return 0;
        case LeakKind::all: return membrane;
        case LeakKind::share: return membrane >> leak.shift;
        case LeakKind::rest: return membrane - (membrane >> leak.shift);
    }
    return 0;
}

void charge_and_fire(const Firing& neuron, int32_t stride, int64_t pixel, int32_t channel,
                     const int32_t* current, int32_t* counts) {
    int32_t* membrane = neuron.membrane + pixel * stride + channel;
    int32_t potential[kBlock];
    for (int32_t i = 0; i < kBlock; ++i) {
        const int32_t bias = neuron.bias ? neuron.bias[channel + i] : 0;
        const int32_t charge = plus(shifted(current[i], neuron.shift), bias);
        potential[i] = plus(leaked(neuron.leak, membrane[i]), charge);
    }
    count_levels(neuron, stride, neuron.below + channel, potential, counts);
    for (int32_t i = 0; i < kBlock; ++i) {
        if (neuron.resets_hard) {
            membrane[i] = counts[i] ? 0 : potential[i];
        } else {
            const uint32_t spent = uint32_t(counts[i]) * uint32_t(neuron.step[channel + i]);
            membrane[i] = minus(potential[i], int32_t(spent));
        }
    }
}

// Returns the counts that are not zero.
int32_t fire(const Firing& neuron, int32_t stride, int64_t pixel, int32_t channel,
             const int32_t* current, uint8_t* to) {
    int32_t counts[kBlock];
    if (neuron.membrane) {
        charge_and_fire(neuron, stride, pixel, channel, current, counts);
    } else if (neuron.gain) {
        round_counts(neuron, channel, current, counts);
    } else {
        count_levels(neuron, stride, neuron.below + channel, current, counts);
    }
    int32_t nonzeros = 0;
    for (int32_t i = 0; i < kBlock; ++i) {
        to[channel + i] = uint8_t(counts[i]);
        nonzeros += counts[i] != 0;
    }
    return nonzeros;
}

uint8_t* pixel_of(const CountMap& map, int64_t pixel) {
    const int64_t line = pixel / map.width;
    return map.pixel(line / map.height, line % map.height, pixel % map.width);
}

}  // namespace

void generic_finish(
    const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end) {
    const int32_t padded = round_up(epilogue.channels, kCurrentLanes);
    std::vector<int32_t> current(sums, sums + (end - begin) * stride);
    if (epilogue.left) {
        for (int64_t i = 0; i < end - begin; ++i) {
            for (int32_t c = 0; c < padded; ++c) {
                int32_t& value = current[size_t(i * stride + c)];
                value = plus(shifted(value, epilogue.left[c]), epilogue.bias[c]);
                value >>= epilogue.right[c];
            }
        }
    }
    for (const Stage& stage : epilogue.stages) {
        for (int64_t pixel = begin; pixel < end; ++pixel) {
            int32_t* own = current.data() + (pixel - begin) * stride;
            if (stage.add) {
                const int32_t* other = stage.add->pixel(pixel);
                for (int32_t c = 0; c < padded; ++c) own[c] = plus(own[c], other[c]);
            }
            if (stage.keep) std::copy(own, own + padded, stage.keep->pixel(pixel));
        }
        for (const Firing& neuron : stage.neurons) {
            int64_t nonzeros = 0;
            for (int64_t pixel = begin; pixel < end; ++pixel) {
                const int32_t* own = current.data() + (pixel - begin) * stride;
                uint8_t* to = pixel_of(neuron.to, pixel);
                for (int32_t c = 0; c < padded; c += kBlock) {
                    nonzeros += fire(neuron, padded, pixel, c, own + c, to);
                }
            }
            neuron.to.nonzeros->fetch_add(nonzeros, std::memory_order_relaxed);
        }
    }
}

}  // namespace spk
