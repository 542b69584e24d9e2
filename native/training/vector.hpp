// Vectors of one instruction set, and the storage types that are read into them and written back.
//
// SPIKESIGHT_ISA names the namespace and SPIKESIGHT_WIDTH is the vector's size in bytes. Written
// with the vector extensions of GCC and Clang; instructions are named only where those compilers
// have no expression for them.

#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define SPIKESIGHT_INLINE inline __attribute__((always_inline))
#define SPIKESIGHT_INLINE_LAMBDA __attribute__((always_inline))

namespace SPIKESIGHT_ISA {

template <class C>
struct Types;
template <>
struct Types<float> {
    typedef float Vector __attribute__((vector_size(SPIKESIGHT_WIDTH)));
    typedef int32_t Integers __attribute__((vector_size(SPIKESIGHT_WIDTH)));
    using Integer = int32_t;
    static constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    static constexpr int mantissa = 23, bias = 127, degree = 6;
};
template <>
struct Types<double> {
    typedef double Vector __attribute__((vector_size(SPIKESIGHT_WIDTH)));
    typedef int64_t Integers __attribute__((vector_size(SPIKESIGHT_WIDTH)));
    using Integer = int64_t;
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr int mantissa = 52, bias = 1023, degree = 13;
};

template <class C>
using Vector = typename Types<C>::Vector;
template <class C>
using Integers = typename Types<C>::Integers;

template <class C>
constexpr int kLanes = SPIKESIGHT_WIDTH / int(sizeof(C));

template <class C>
SPIKESIGHT_INLINE Vector<C> choose(Integers<C> mask, Vector<C> yes, Vector<C> no) {
    return mask ? yes : no;
}

// `value` where the mask holds, else zero.
template <class C>
SPIKESIGHT_INLINE Vector<C> keep(Integers<C> mask, Vector<C> value) {
    return (Vector<C>)(mask & (Integers<C>)value);
}

template <class C>
SPIKESIGHT_INLINE Vector<C> magnitude(Vector<C> x) {
    return (Vector<C>)((Integers<C>)x & std::numeric_limits<typename Types<C>::Integer>::max());
}

// `x`, but no less than `low`; not a number stays not a number.
template <class C>
SPIKESIGHT_INLINE Vector<C> at_least(Vector<C> low, Vector<C> x) {
#if defined(__AVX__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm256_max_ps((__m256)low, (__m256)x);
    else
        return (Vector<C>)_mm256_max_pd((__m256d)low, (__m256d)x);
#elif defined(__AVX512F__) && SPIKESIGHT_WIDTH == 64
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm512_max_ps((__m512)low, (__m512)x);
    else
        return (Vector<C>)_mm512_max_pd((__m512d)low, (__m512d)x);
#else
    return choose<C>(x < low, low, x);
#endif
}

template <class C>
SPIKESIGHT_INLINE Vector<C> at_most(Vector<C> high, Vector<C> x) {
#if defined(__AVX__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm256_min_ps((__m256)high, (__m256)x);
    else
        return (Vector<C>)_mm256_min_pd((__m256d)high, (__m256d)x);
#elif defined(__AVX512F__) && SPIKESIGHT_WIDTH == 64
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm512_min_ps((__m512)high, (__m512)x);
    else
        return (Vector<C>)_mm512_min_pd((__m512d)high, (__m512d)x);
#else
    return choose<C>(x > high, high, x);
#endif
}

template <class C>
SPIKESIGHT_INLINE Vector<C> clamp(Vector<C> x, Vector<C> low, Vector<C> high) {
    return at_most<C>(high, at_least<C>(low, x));
}

// Half to even, for |x| below 2^21.
template <class C>
SPIKESIGHT_INLINE Vector<C> round_even(Vector<C> x) {
    return (x + Types<C>::magic) - Types<C>::magic;
}

template <class C>
SPIKESIGHT_INLINE Vector<C> floor_small(Vector<C> x) {
    const Vector<C> zero = {};
    const Vector<C> rounded = round_even<C>(x);
    return choose<C>(rounded > x, rounded - C(1), rounded) + zero;
}

// a * b + c, rounded once where the instruction set can.
template <class C>
SPIKESIGHT_INLINE Vector<C> multiply_add(Vector<C> a, Vector<C> b, Vector<C> c) {
#if defined(__FMA__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    else
        return (Vector<C>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__AVX512F__) && SPIKESIGHT_WIDTH == 64
    if constexpr (sizeof(C) == 4)
        return (Vector<C>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    else
        return (Vector<C>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#else
    return a * b + c;
#endif
}

// 2^x for x <= 0, to the last place; below the smallest normal number that number.
template <class C>
SPIKESIGHT_INLINE Vector<C> exp2_below_zero(Vector<C> x) {
    constexpr double series[] = {1.0,
                                 0.6931471805599453,
                                 0.24022650695910072,
                                 0.05550410866482158,
                                 0.009618129107628477,
                                 0.0013333558146428443,
                                 0.0001540353039338161,
                                 1.5252733804059841e-05,
                                 1.321548679014431e-06,
                                 1.01780860092397e-07,
                                 7.054911620801123e-09,
                                 4.4455382718708116e-10,
                                 2.567843599348820e-11,
                                 1.3691488853904128e-12};
    const Vector<C> zero = {}, lowest = zero + C(1 - Types<C>::bias);
    x = at_least<C>(lowest, x);
    const Vector<C> shifted = x + Types<C>::magic;
    const Vector<C> rest = x - (shifted - Types<C>::magic);
    Vector<C> sum = zero + C(series[Types<C>::degree]);
#pragma GCC unroll 16
    for (int i = Types<C>::degree - 1; i >= 0; --i) 
        sum = multiply_add<C>(sum, rest, zero + C(series[i]));
    const Vector<C> base = zero + Types<C>::magic;
    const Integers<C> exponent = (Integers<C>)shifted - (Integers<C>)base;
    return sum * (Vector<C>)((exponent + Types<C>::bias) << Types<C>::mantissa);
}

template <class C>
SPIKESIGHT_INLINE Vector<C> load(const C* from) {
    Vector<C> value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class C>
SPIKESIGHT_INLINE void store(C* to, Vector<C> value) {
    std::memcpy(to, &value, sizeof value);
}

// One bit a lane.
template <class C>
SPIKESIGHT_INLINE uint32_t bits_of(Integers<C> mask) {
#if defined(__AVX2__) && SPIKESIGHT_WIDTH == 32
    if constexpr (sizeof(C) == 4)
        return uint32_t(_mm256_movemask_ps((__m256)mask));
    else
        return uint32_t(_mm256_movemask_pd((__m256d)mask));
#elif defined(__AVX512F__) && SPIKESIGHT_WIDTH == 64
    if constexpr (sizeof(C) == 4)
        return uint32_t(_mm512_movepi32_mask((__m512i)mask));
    else
        return uint32_t(_mm512_movepi64_mask((__m512i)mask));
#elif defined(__SSE2__) && SPIKESIGHT_WIDTH == 16
    if constexpr (sizeof(C) == 4)
        return uint32_t(_mm_movemask_ps((__m128)mask));
    else
        return uint32_t(_mm_movemask_pd((__m128d)mask));
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < kLanes<C>; ++lane) bits |= uint32_t(mask[lane] & 1) << lane;
    return bits;
#endif
}

// The mask that `bits_of` made bits of.
template <class C>
SPIKESIGHT_INLINE Integers<C> mask_of(uint32_t bits) {
    Integers<C> weight;
    for (int lane = 0; lane < kLanes<C>; ++lane)
        weight[lane] = typename Types<C>::Integer(1) << lane;
    return ((weight & typename Types<C>::Integer(bits)) == weight);
}

// A store past the caches, where there is one; `to` must then be aligned to a vector.
template <class V, class E>
SPIKESIGHT_INLINE void stream(E* to, V value) {
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 64) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
        return;
    }
#endif
#if defined(__AVX__)
    if constexpr (sizeof(V) == 32) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
        return;
    }
#endif
#if defined(__SSE2__)
    if constexpr (sizeof(V) == 16) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)value);
        return;
    }
#endif
    std::memcpy(to, &value, sizeof value);
}

template <class C>
struct Plain {
    using Compute = C;
    using Element = C;
    static SPIKESIGHT_INLINE Vector<C> read(const C* from) { return load<C>(from); }
    static SPIKESIGHT_INLINE void write(C* to, Vector<C> value, bool streaming) {
        if (streaming)
            stream(to, value);
        else
            store<C>(to, value);
    }
};

typedef uint16_t Halves __attribute__((vector_size(SPIKESIGHT_WIDTH / 2)));
typedef uint32_t Words __attribute__((vector_size(SPIKESIGHT_WIDTH)));

SPIKESIGHT_INLINE void write_halves(uint16_t* to, Halves value, bool streaming) {
    if (streaming && SPIKESIGHT_WIDTH >= 32)
        stream(to, value);
    else
        std::memcpy(to, &value, sizeof value);
}

SPIKESIGHT_INLINE Halves read_halves(const uint16_t* from) {
    Halves value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

#if defined(__AVX2__) && SPIKESIGHT_WIDTH == 32
// Compilers make a detour of these two.
SPIKESIGHT_INLINE Words widen(Halves halves) {
    return (Words)_mm256_cvtepu16_epi32((__m128i)halves);
}
SPIKESIGHT_INLINE Halves narrow(Words words) {
    const __m256i packed = _mm256_packus_epi32((__m256i)words, (__m256i)words);
    return (Halves)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}
#else
SPIKESIGHT_INLINE Words widen(Halves halves) { return __builtin_convertvector(halves, Words); }
SPIKESIGHT_INLINE Halves narrow(Words words) { return __builtin_convertvector(words, Halves); }
#endif

struct BFloat16 {
    using Compute = float;
    using Element = uint16_t;
    static SPIKESIGHT_INLINE Vector<float> read(const uint16_t* from) {
        return (Vector<float>)(widen(read_halves(from)) << 16);
    }
    static SPIKESIGHT_INLINE void write(uint16_t* to, Vector<float> value, bool streaming) {
        const Words bits = (Words)value;
        // What is not a number stays so: none that bfloat16 can say overflows here.
        write_halves(to, narrow((bits + 0x7fff + ((bits >> 16) & 1)) >> 16), streaming);
    }
};

struct Float16 {
    using Compute = float;
    using Element = uint16_t;
#if defined(__F16C__) && SPIKESIGHT_WIDTH == 32
    static SPIKESIGHT_INLINE Vector<float> read(const uint16_t* from) {
        return (Vector<float>)_mm256_cvtph_ps((__m128i)read_halves(from));
    }
    static SPIKESIGHT_INLINE void write(uint16_t* to, Vector<float> value, bool streaming) {
        write_halves(to, (Halves)_mm256_cvtps_ph((__m256)value, 0), streaming);
    }
#elif defined(__AVX512F__) && SPIKESIGHT_WIDTH == 64
    static SPIKESIGHT_INLINE Vector<float> read(const uint16_t* from) {
        return (Vector<float>)_mm512_cvtph_ps((__m256i)read_halves(from));
    }
    static SPIKESIGHT_INLINE void write(uint16_t* to, Vector<float> value, bool streaming) {
        write_halves(to, (Halves)_mm512_cvtps_ph((__m512)value, 0), streaming);
    }
#else
    static SPIKESIGHT_INLINE Vector<float> read(const uint16_t* from) {
        const Words half = widen(read_halves(from));
        const Words zero = {};
        // The exponent is moved by a product, which also gives subnormal halves their value.
        const Words scale = zero + 0x77800000u;  // 2^112
        const Vector<float> moved =
            (Vector<float>)((half & 0x7fff) << 13) * (Vector<float>)scale;
        const Words endless = (Words)((half & 0x7c00) == 0x7c00);
        const Words size = endless ? (((half & 0x3ff) << 13) | 0x7f800000u) : (Words)moved;
        return (Vector<float>)(size | ((half & 0x8000) << 16));
    }
    static SPIKESIGHT_INLINE void write(uint16_t* to, Vector<float> value, bool streaming) {
        const Words zero = {};
        const Words bits = (Words)value, sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
        const Words normal = (size - 0x38000000u + 0xfff + ((size >> 13) & 1)) >> 13;
        // Adding 0.5 puts a subnormal half into the last places of the sum, rounded to even.
        const Words half_bits = zero + 0x3f000000u;
        const Words subnormal =
            (Words)((Vector<float>)size + (Vector<float>)half_bits) - half_bits;
        Words chosen = (Words)(size < 0x38800000u) ? subnormal : normal;
        chosen = (Words)(size >= 0x477ff000u) ? zero + 0x7c00 : chosen;
        chosen = (Words)(size > 0x7f800000u) ? zero + 0x7e00 : chosen;
        write_halves(to, narrow(chosen | sign), streaming);
    }
#endif
};

}  // namespace SPIKESIGHT_ISA
