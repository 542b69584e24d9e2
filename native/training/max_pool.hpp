// Max pooling of channels-last maps, perhaps of a normalisation that is not stored, and its
// gradient.
//
// One byte an output says which element of the window was largest. The backward pass asks of every
// input pixel which windows chose it: nothing is zeroed first and no two threads meet.

#pragma once

#include "norm_neurons.hpp"

namespace SPIKESIGHT_ISA {

template <class C>
SPIKESIGHT_INLINE Integers<C> read_bytes(const uint8_t* from) {
#if defined(__AVX2__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4) {
        int64_t eight;
        std::memcpy(&eight, from, 8);
        return (Integers<C>)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(eight));
    }
#endif
    Integers<C> numbers;
    for (int lane = 0; lane < kLanes<C>; ++lane) numbers[lane] = from[lane];
    return numbers;
}

template <class C>
SPIKESIGHT_INLINE void write_bytes(uint8_t* to, Integers<C> numbers) {
#if defined(__AVX2__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4) {
        const __m256i words = _mm256_packs_epi32((__m256i)numbers, (__m256i)numbers);
        const __m256i bytes = _mm256_packus_epi16(words, words);
        const int64_t eight = _mm_cvtsi128_si64(_mm_unpacklo_epi32(
            _mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
        std::memcpy(to, &eight, 8);
        return;
    }
#endif
    for (int lane = 0; lane < kLanes<C>; ++lane) to[lane] = uint8_t(numbers[lane]);
}

// Output rows [begin, end), of images * out_height.
template <class S>
void pool_forward(const PoolCall& call, int64_t begin, int64_t end) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    using Integer = typename Types<C>::Integer;
    const NormCall& norm = call.norm;
    const int64_t channels = norm.channels;
    const auto* gain = static_cast<const C*>(norm.gain);
    const auto* shift = static_cast<const C*>(norm.shift);
    const Vector<C> lowest = Vector<C>{} - std::numeric_limits<C>::infinity();
    with_flag(gain != nullptr, [&](auto affine) {
        for (int64_t row = begin; row < end; ++row) {
            const int64_t image = row / call.out_height;
            const int64_t top = row % call.out_height * call.stride - call.padding;
            const auto* x =
                static_cast<const Element*>(norm.input) + image * call.height * call.width * channels;
            auto* out = static_cast<Element*>(norm.output) + row * call.out_width * channels;
            uint8_t* index = call.index + row * call.out_width * channels;
            for (int64_t column = 0; column < call.out_width; ++column) {
                const int64_t left = column * call.stride - call.padding;
                const int64_t i0 = std::max<int64_t>(0, -top),
                              i1 = std::min<int64_t>(call.kernel, call.height - top),
                              j0 = std::max<int64_t>(0, -left),
                              j1 = std::min<int64_t>(call.kernel, call.width - left);
                for (int64_t c = 0; c < channels; c += kLanes<C>) {
                    Vector<C> most = lowest;
                    Integers<C> place = Integers<C>{} + Integer(i0 * call.kernel + j0);
                    for (int64_t i = i0; i < i1; ++i)
                        for (int64_t j = j0; j < j1; ++j) {
                            Vector<C> value =
                                S::read(x + ((top + i) * call.width + left + j) * channels + c);
                            if constexpr (affine())
                                value = value * load<C>(gain + c) + load<C>(shift + c);
                            const Integers<C> more = (value > most) | (value != value);
                            most = choose<C>(more, value, most);
                            const Integers<C> here = Integers<C>{} + Integer(i * call.kernel + j);
                            place = (place & ~more) | (here & more);
                        }
                    S::write(out + column * channels + c, most, false);
                    write_bytes<C>(index + column * channels + c, place);
                }
            }
        }
    });
}

// Input rows [begin, end), of images * height: the gradient of what was pooled and, behind a
// normalisation, its sums as `norm_backward` gives them.
template <class S>
void pool_backward(const PoolCall& call, int64_t begin, int64_t end, double* sums,
                   double* products) {
    using C = typename S::Compute;
    using Element = typename S::Element;
    using Integer = typename Types<C>::Integer;
    const NormCall& norm = call.norm;
    const int64_t channels = norm.channels;
    const auto* mean = static_cast<const C*>(norm.mean);
    std::vector<C> part(sums ? size_t(2 * channels) : 0);
    C* const part_sum = part.data();
    C* const part_product = part_sum + channels;
    if (sums) {
        std::fill(sums, sums + channels, 0.0);
        std::fill(products, products + channels, 0.0);
    }
    with_flag(sums != nullptr, [&](auto summed) {
        for (int64_t row = begin; row < end; ++row) {
            const int64_t image = row / call.height, y = row % call.height + call.padding;
            const int64_t o0 = y < call.kernel ? 0 : (y - call.kernel) / call.stride + 1;
            const int64_t o1 = std::min<int64_t>(y / call.stride + 1, call.out_height);
            const int64_t offset = row * call.width * channels;
            const auto* x = static_cast<const Element*>(norm.input) + offset;
            auto* gx = static_cast<Element*>(norm.grad_input) + offset;
            const int64_t outputs = image * call.out_height * call.out_width * channels;
            const auto* g = static_cast<const Element*>(norm.grad_output) + outputs;
            const uint8_t* index = call.index + outputs;
            for (int64_t column = 0; column < call.width; ++column) {
                const int64_t z = column + call.padding;
                const int64_t p0 = z < call.kernel ? 0 : (z - call.kernel) / call.stride + 1;
                const int64_t p1 = std::min<int64_t>(z / call.stride + 1, call.out_width);
                for (int64_t c = 0; c < channels; c += kLanes<C>) {
                    Vector<C> grad = {};
                    for (int64_t o = o0; o < o1; ++o)
                        for (int64_t p = p0; p < p1; ++p) {
                            const int64_t at = (o * call.out_width + p) * channels + c;
                            const Integers<C> here =
                                Integers<C>{} +
                                Integer((y - o * call.stride) * call.kernel + z - p * call.stride);
                            const Integers<C> chosen = read_bytes<C>(index + at) == here;
                            grad = grad + keep<C>(chosen, S::read(g + at));
                        }
                    S::write(gx + column * channels + c, grad, false);
                    if constexpr (summed()) {
                        store<C>(part_sum + c, load<C>(part_sum + c) + grad);
                        store<C>(part_product + c,
                                 multiply_add<C>(
                                     grad, S::read(x + column * channels + c) - load<C>(mean + c),
                                     load<C>(part_product + c)));
                    }
                }
            }
            if constexpr (summed())
                for (int64_t c = 0; c < channels; ++c) {
                    sums[c] += double(part_sum[c]);
                    products[c] += double(part_product[c]);
                    part_sum[c] = part_product[c] = C(0);
                }
        }
    });
}

}  // namespace SPIKESIGHT_ISA
