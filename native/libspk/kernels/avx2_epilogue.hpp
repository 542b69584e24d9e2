// Shift, bias, addition and firing of 16 channels of one pixel, in registers.
#pragma once

#include <immintrin.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/epilogue.hpp"
#include "kernels/places.hpp"

namespace spk::avx2 {

inline __m256i load(const int32_t* from) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
}

inline void store(int32_t* to, __m256i value) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to), value);
}

// How many thresholds the potentials reach.
inline __m256i levels_below(
    int32_t levels, const int32_t* below, int64_t stride, __m256i potential) {
    __m256i sum = _mm256_setzero_si256();
    for (int32_t level = 0; level < levels; ++level) {
        sum = _mm256_sub_epi32(sum, _mm256_cmpgt_epi32(potential, load(below + level * stride)));
    }
    return sum;
}

// round(gain * X + offset), at most D; negative numbers are left to saturation. The minimum comes
// before the conversion, which knows no number above 2^31.
inline __m256i rounded(
    const float* gain, const float* offset, __m256 highest, __m256i current) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(current), _mm256_load_ps(gain));
    const __m256 sum = _mm256_add_ps(product, _mm256_load_ps(offset));
    return _mm256_cvtps_epi32(_mm256_min_ps(sum, highest));
}

inline __m256i leaked(const Leak& leak, __m256i membrane) {
    const __m128i shift = _mm_cvtsi32_si128(leak.shift);
    switch (leak.kind) {
        case LeakKind::none: return _mm256_setzero_si256();
        case LeakKind::all: return membrane;
        case LeakKind::share: return _mm256_sra_epi32(membrane, shift);
        case LeakKind::rest: return _mm256_sub_epi32(membrane, _mm256_sra_epi32(membrane, shift));
    }
    return membrane;
}

// Potentials of one time step and the membranes that firing leaves; returns counts.
inline __m256i fire_over_time(
    const Firing& firing, int64_t stride, int32_t channel, int32_t* membrane, __m256i current) {
    __m256i potential = _mm256_sll_epi32(current, _mm_cvtsi32_si128(firing.shift));
    if (firing.bias) potential = _mm256_add_epi32(potential, load(firing.bias + channel));
    potential = _mm256_add_epi32(potential, leaked(firing.leak, load(membrane)));
    const __m256i zero = _mm256_setzero_si256();
    const __m256i counts =
        levels_below(firing.levels, firing.below + channel, stride, potential);
    if (firing.resets_hard) {
        store(membrane, _mm256_and_si256(potential, _mm256_cmpeq_epi32(counts, zero)));
    } else {
        const __m256i removed = _mm256_mullo_epi32(counts, load(firing.step + channel));
        store(membrane, _mm256_sub_epi32(potential, removed));
    }
    return counts;
}

// Sixteen integers of 32 bits as bytes, saturated to 0..255.
inline __m128i to_bytes(__m256i low, __m256i high) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
    return _mm_packus_epi16(
        _mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// An epilogue at work in one task; counts that are not zero are added to the maps at its end.
class Finisher {
public:
    explicit Finisher(const Epilogue& epilogue)
        : epilogue_(epilogue), stride_(round_up(epilogue.channels, kCurrentLanes)) {
        for (const Stage& stage : epilogue.stages) {
            for (const Firing& firing : stage.neurons) written_.emplace_back(firing.to);
        }
    }
    Finisher(const Finisher&) = delete;
    Finisher& operator=(const Finisher&) = delete;
    ~Finisher() {
        for (const Written& map : written_) {
            if (map.of_all) map.of_all->fetch_add(map.nonzeros, std::memory_order_relaxed);
        }
    }

    // Of a few pixels and of channels channel..channel + 15, a multiple of 16 and below the number
    // of channels; the sums end as what the last stage leaves.
    template <int kPixels>
    void finish(const Place* places, int32_t channel, __m256i (*sums)[2]) {
        if (epilogue_.left) shift<kPixels>(channel, sums);
        Written* to = written_.data();
        for (const Stage& stage : epilogue_.stages) {
            if (stage.add) {
                for (int i = 0; i < kPixels; ++i) {
                    const int32_t* added = stage.add->pixel(places[i].index) + channel;
                    sums[i][0] = _mm256_add_epi32(sums[i][0], load(added));
                    sums[i][1] = _mm256_add_epi32(sums[i][1], load(added + 8));
                }
            }
            if (stage.keep) {
                for (int i = 0; i < kPixels; ++i) {
                    int32_t* kept = stage.keep->pixel(places[i].index) + channel;
                    store(kept, sums[i][0]);
                    store(kept + 8, sums[i][1]);
                }
            }
            for (const Firing& firing : stage.neurons) {
                fire<kPixels>(firing, places, channel, sums, *to++);
            }
        }
    }

private:
    // A map of counts: where its pixels lie, and how many counts of it were not zero.
    struct Written {
        explicit Written(const CountMap& map)
            : first(map.pixel(0, 0, 0)), stride(map.stride), row_bytes(map.row_bytes()),
              image_bytes(map.image_bytes()), of_all(map.nonzeros) {}

        uint8_t* at(const Place& place) const {
            return first + place.image * image_bytes + place.y * row_bytes + place.x * stride;
        }

        uint8_t* first;
        int64_t stride, row_bytes, image_bytes;
        std::atomic<int64_t>* of_all;
        int64_t nonzeros = 0;
    };

    template <int kPixels>
    void shift(int32_t channel, __m256i (*sums)[2]) const {
        for (int half = 0; half < 2; ++half) {
            const __m256i left = load(epilogue_.left + channel + 8 * half);
            const __m256i bias = load(epilogue_.bias + channel + 8 * half);
            const __m256i right = load(epilogue_.right + channel + 8 * half);
            for (int i = 0; i < kPixels; ++i) {
                const __m256i sum = _mm256_sllv_epi32(sums[i][half], left);
                sums[i][half] = _mm256_srav_epi32(_mm256_add_epi32(sum, bias), right);
            }
        }
    }

    template <int kPixels>
    void fire(
        const Firing& firing, const Place* places, int32_t channel, const __m256i (*sums)[2],
        Written& to) const {
        if (firing.membrane) {
            return write<kPixels>(places, channel, to, [&](int i, int half) {
                const int32_t from = channel + 8 * half;
                int32_t* membrane = firing.membrane + places[i].index * stride_ + from;
                return fire_over_time(firing, stride_, from, membrane, sums[i][half]);
            });
        }
        switch (firing.levels) {
            case 1: return compare<kPixels, 1>(firing, places, channel, sums, to);
            case 2: return compare<kPixels, 2>(firing, places, channel, sums, to);
            case 4: return compare<kPixels, 4>(firing, places, channel, sums, to);
        }
        if (!firing.gain) {
            return write<kPixels>(places, channel, to, [&](int i, int half) {
                const int32_t* below = firing.below + channel + 8 * half;
                return levels_below(firing.levels, below, stride_, sums[i][half]);
            });
        }
        const __m256 highest = _mm256_set1_ps(float(firing.levels));
        return write<kPixels>(places, channel, to, [&](int i, int half) {
            const float* gain = firing.gain + channel + 8 * half;
            const float* offset = firing.offset + channel + 8 * half;
            return rounded(gain, offset, highest, sums[i][half]);
        });
    }

    template <int kPixels, int kLevels>
    void compare(
        const Firing& firing, const Place* places, int32_t channel, const __m256i (*sums)[2],
        Written& to) const {
        __m256i below[kLevels][2];
        for (int level = 0; level < kLevels; ++level) {
            const int32_t* from = firing.below + level * stride_ + channel;
            below[level][0] = load(from);
            below[level][1] = load(from + 8);
        }
        write<kPixels>(places, channel, to, [&](int i, int half) {
            __m256i reached = _mm256_cmpgt_epi32(sums[i][half], below[0][half]);
            for (int level = 1; level < kLevels; ++level) {
                reached = _mm256_add_epi32(
                    reached, _mm256_cmpgt_epi32(sums[i][half], below[level][half]));
            }
            return _mm256_sub_epi32(_mm256_setzero_si256(), reached);
        });
    }

    // Counts: of a pixel and of channels 0..7 or 8..15, as 32 bits.
    template <int kPixels, class Counts>
    static void write(const Place* places, int32_t channel, Written& to, const Counts& counts) {
        int64_t zeros = 0;
        for (int i = 0; i < kPixels; ++i) {
            const __m128i bytes = to_bytes(counts(i, 0), counts(i, 1));
            _mm_store_si128(reinterpret_cast<__m128i*>(to.at(places[i]) + channel), bytes);
            const __m128i is_zero = _mm_cmpeq_epi8(bytes, _mm_setzero_si128());
            zeros += _mm_popcnt_u32(unsigned(_mm_movemask_epi8(is_zero)));
        }
        to.nonzeros += kPixels * kCurrentLanes - zeros;
    }

    const Epilogue& epilogue_;
    const int64_t stride_;
    std::vector<Written> written_;
};

}  // namespace spk::avx2
