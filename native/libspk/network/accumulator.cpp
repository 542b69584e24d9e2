// What the sum of weights times inputs can be, from the weights themselves.
#include <algorithm>
#include <cstdlib>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "file/bit_stream.hpp"
#include "network/network.hpp"

namespace spk {
namespace {

// Sums of a row of weights, of those above zero and of those below.
struct Sums {
    int64_t positive = 0, negative = 0;
};

Sums sums_of(const int8_t* weights, size_t count) {
    int64_t sum = 0, absolute = 0;
    size_t i = 0;
#if defined(__SSE2__)
    // Bytes are added without a sign: of the weight as w + 128, and of its absolute value.
    const __m128i zero = _mm_setzero_si128(), middle = _mm_set1_epi8(-128);
    __m128i sums = zero, absolutes = zero;
    for (; i + 16 <= count; i += 16) {
        const __m128i weight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights + i));
        const __m128i sign = _mm_cmpgt_epi8(zero, weight);
        const __m128i size = _mm_sub_epi8(_mm_xor_si128(weight, sign), sign);
        sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_xor_si128(weight, middle), zero));
        absolutes = _mm_add_epi64(absolutes, _mm_sad_epu8(size, zero));
    }
    int64_t halves[4];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves), sums);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves + 2), absolutes);
    sum = halves[0] + halves[1] - 128 * int64_t(i);
    absolute = halves[2] + halves[3];
#endif
    for (; i < count; ++i) {
        sum += weights[i];
        absolute += std::abs(weights[i]);
    }
    return {(absolute + sum) / 2, (sum - absolute) / 2};
}

bool is_constant(const std::vector<int64_t>& values) {
    return std::all_of(values.begin(), values.end(),
                       [&](int64_t value) { return value == values[0]; });
}

}  // namespace

Interval accumulator(const Synapse& synapse, const Interval& source) {
    const size_t outputs = size_t(synapse.outputs), inputs = size_t(synapse.inputs_of_group);
    const size_t row = size_t(synapse.weights_per_output());
    const size_t outputs_of_group = outputs / size_t(synapse.groups);
    // Inputs that can be the same are summed at once.
    const bool alike = is_constant(source.low) && is_constant(source.high);
    const size_t parts = alike ? 1 : inputs;
    Interval total;
    total.low.resize(outputs);
    total.high.resize(outputs);
    total.magnitude = 0;
    std::vector<int8_t> unpacked(synapse.bits == 8 ? 0 : row);
    for (size_t o = 0; o < outputs; ++o) {
        const auto* weights = reinterpret_cast<const int8_t*>(synapse.packed.get()) + o * row;
        if (synapse.bits != 8) {
            unpack(synapse.packed.get(), synapse.packed_size, synapse.bits, o * row, row,
                   unpacked.data());
            weights = unpacked.data();
        }
        const size_t group = o / outputs_of_group;
        int64_t low = 0, high = 0, magnitude = 0;
        for (size_t i = 0; i < parts; ++i) {
            int64_t lowest = source.low[group * inputs + i];
            int64_t highest = source.high[group * inputs + i];
            if (synapse.padding != 0) {
                lowest = std::min<int64_t>(lowest, 0);
                highest = std::max<int64_t>(highest, 0);
            }
            const Sums sums = sums_of(weights + i * (row / parts), row / parts);
            low += sums.positive * lowest + sums.negative * highest;
            high += sums.positive * highest + sums.negative * lowest;
            magnitude += (sums.positive - sums.negative) *
                         std::max(std::abs(lowest), std::abs(highest));
        }
        total.low[o] = low;
        total.high[o] = high;
        total.magnitude = std::max(total.magnitude, magnitude);
    }
    return total;
}

}  // namespace spk
