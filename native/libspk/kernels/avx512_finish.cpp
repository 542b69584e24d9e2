// Compiled for AVX-512. It has no function that another file might share, since a linker could
// take this one's for a processor without.
#include "kernels/avx512_finish.hpp"

#include <cstring>

#include "kernels/avx512_lanes.hpp"

#if defined(SPK_EMULATE_AVX512)
#include <cmath>
#else
#include <immintrin.h>
#endif

namespace spk::avx512 {
namespace {

constexpr int kLanes = kCurrentLanes;

using Reals = float __attribute__((vector_size(64), may_alias));
using Bytes = uint8_t __attribute__((vector_size(16), may_alias));

// To the nearest, halves to the even one.
#if defined(SPK_EMULATE_AVX512)
Lanes nearest(Reals values) {
    Lanes integers;
    for (int i = 0; i < kLanes; ++i) integers[i] = int32_t(std::nearbyint(values[i]));
    return integers;
}
#else
Lanes nearest(Reals values) { return Lanes(_mm512_maskz_cvtps_epi32(0xFFFF, __m512(values))); }
#endif

Lanes leaked(const Leak& leak, Lanes membrane) {
    switch (leak.kind) {
        case LeakKind::none: return Lanes{};
        case LeakKind::all: return membrane;
        case LeakKind::share: return membrane >> leak.shift;
        case LeakKind::rest: return membrane - (membrane >> leak.shift);
    }
    return membrane;
}

// Counts of neurons at T = 1 with few levels, whose thresholds stay in registers.
template <int kLevels>
struct Compared {
    Lanes below[kLevels];

    Compared(const Firing& firing, int64_t stride, int32_t channel) {
        for (int level = 0; level < kLevels; ++level) {
            below[level] = load(firing.below + level * stride + channel);
        }
    }
    Lanes operator()(Lanes current, int64_t) const {
        Lanes counts{};
        for (const Lanes& threshold : below) counts = current > threshold ? counts + 1 : counts;
        return counts;
    }
};

// How many thresholds the potentials reach.
Lanes levels_below(const Firing& firing, int64_t stride, int32_t channel, Lanes potential) {
    Lanes counts{};
    const int32_t* below = firing.below + channel;
    for (int32_t level = 0; level < firing.levels; ++level, below += stride) {
        counts = potential > load(below) ? counts + 1 : counts;
    }
    return counts;
}

struct Searched {
    const Firing& firing;
    int64_t stride;
    int32_t channel;

    Lanes operator()(Lanes current, int64_t) const {
        return levels_below(firing, stride, channel, current);
    }
};

// round(gain * X + offset), within 0..D. The minimum comes before the conversion, which knows no
// number above 2^31.
struct Rounded {
    Reals gain, offset, highest;

    Rounded(const Firing& firing, int32_t channel)
        : gain(*reinterpret_cast<const Reals*>(firing.gain + channel)),
          offset(*reinterpret_cast<const Reals*>(firing.offset + channel)),
          highest(Reals{} + float(firing.levels)) {}

    Lanes operator()(Lanes current, int64_t) const {
        const Reals sum = __builtin_convertvector(current, Reals) * gain + offset;
        const Lanes counts = nearest(sum < highest ? sum : highest);
        return counts > 0 ? counts : Lanes{};
    }
};

// Potentials of one time step, and the membranes that firing leaves.
struct OverTime {
    const Firing& firing;
    int64_t stride;
    int32_t channel;

    Lanes operator()(Lanes current, int64_t pixel) const {
        int32_t* membrane = firing.membrane + pixel * stride + channel;
        Lanes potential = current << firing.shift;
        if (firing.bias) potential += load(firing.bias + channel);
        potential += leaked(firing.leak, load(membrane));
        const Lanes counts = levels_below(firing, stride, channel, potential);
        if (firing.resets_hard) {
            store(membrane, counts == 0 ? potential : Lanes{});
        } else {
            store(membrane, potential - counts * load(firing.step + channel));
        }
        return counts;
    }
};

template <class Counts>
void write(
    Written& to, const Place* places, int32_t pixels, int32_t channel, const int32_t* sums,
    const Counts& counts_of) {
    Lanes nonzeros{};
    for (int32_t i = 0; i < pixels; ++i) {
        const Place& place = places[i];
        const Lanes counts = counts_of(load(sums + i * kLanes), place.index);
        uint8_t* at = to.first + place.image * to.image_bytes + place.y * to.row_bytes +
                      place.x * to.stride + channel;
        *reinterpret_cast<Bytes*>(at) = __builtin_convertvector(counts, Bytes);
        nonzeros = counts != 0 ? nonzeros + 1 : nonzeros;
    }
    for (int i = 0; i < kLanes; ++i) to.nonzeros += nonzeros[i];
}

void fire(
    Written& to, int64_t stride, const Place* places, int32_t pixels, int32_t channel,
    const int32_t* sums) {
    const Firing& firing = *to.firing;
    const auto by = [&](const auto& counts_of) {
        write(to, places, pixels, channel, sums, counts_of);
    };
    if (firing.membrane) return by(OverTime{firing, stride, channel});
    switch (firing.levels) {
        case 1: return by(Compared<1>(firing, stride, channel));
        case 2: return by(Compared<2>(firing, stride, channel));
        case 4: return by(Compared<4>(firing, stride, channel));
    }
    if (firing.gain) return by(Rounded(firing, channel));
    by(Searched{firing, stride, channel});
}

void shift(const Steps& steps, int32_t pixels, int32_t channel, int32_t* sums) {
    const Lanes left = load(steps.left + channel), bias = load(steps.bias + channel);
    const Lanes right = load(steps.right + channel);
    for (int32_t i = 0; i < pixels; ++i) {
        int32_t* at = sums + i * kLanes;
        store(at, ((load(at) << left) + bias) >> right);
    }
}

}  // namespace

void finish(
    const Steps& steps, const Place* places, int32_t pixels, int32_t channel, int32_t* sums) {
    if (steps.left) shift(steps, pixels, channel, sums);
    Written* to = steps.written;
    for (int32_t number = 0; number < steps.count; ++number) {
        const StageOfEpilogue& stage = steps.stages[number];
        for (int32_t i = 0; stage.add && i < pixels; ++i) {
            const int32_t* added = stage.add->data + places[i].index * stage.add->stride + channel;
            store(sums + i * kLanes, load(sums + i * kLanes) + load(added));
        }
        for (int32_t i = 0; stage.keep && i < pixels; ++i) {
            int32_t* kept = stage.keep->data + places[i].index * stage.keep->stride + channel;
            store(kept, load(sums + i * kLanes));
        }
        for (int32_t neuron = 0; neuron < stage.neurons; ++neuron) {
            fire(*to++, steps.stride, places, pixels, channel, sums);
        }
    }
}

}  // namespace spk::avx512
