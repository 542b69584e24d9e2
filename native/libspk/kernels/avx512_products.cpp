// Compiled for AVX-512. It has no function that another file might share,
// since a linker could take this one's for a processor without.
#include "kernels/avx512_products.hpp"

#include <cstring>

#include "kernels/avx512_lanes.hpp"

#if !defined(SPK_EMULATE_AVX512)
#include <immintrin.h>
#endif

namespace spk::avx512 {
namespace {

// Four inputs of one pixel, for all outputs.
Lanes broadcast_quad(const uint8_t* from) {
    int32_t quad;
    std::memcpy(&quad, from, sizeof quad);
    return Lanes{} + quad;
}

// Adds to each sum the products of its four counts (bytes without sign) and weights (with one).
#if defined(SPK_EMULATE_AVX512)
// What the instruction is defined to do: tests/emulated_avx512.cpp.
Lanes add_products(Lanes sums, Lanes quads, Lanes weights) {
    uint8_t counts[kQuadBytes];
    int8_t factors[kQuadBytes];
    std::memcpy(counts, &quads, sizeof counts);
    std::memcpy(factors, &weights, sizeof factors);
    for (int32_t lane = 0; lane < kBlock; ++lane) {
        int32_t sum = 0;
        for (int32_t i = lane * kQuad; i < (lane + 1) * kQuad; ++i) sum += counts[i] * factors[i];
        sums[lane] = int32_t(uint32_t(sums[lane]) + uint32_t(sum));
    }
    return sums;
}
#else
Lanes add_products(Lanes sums, Lanes quads, Lanes weights) {
    return Lanes(_mm512_dpbusd_epi32(__m512i(sums), __m512i(quads), __m512i(weights)));
}
#endif

template <int kOfPixels, int kOfBlocks>
void sum(
    const Weights& weights, const uint8_t* const* from, const int64_t* offsets,
    const int32_t* first, int32_t* to) {
    Lanes sums[kOfPixels][kOfBlocks];
    for (int i = 0; i < kOfPixels; ++i) {
        for (int j = 0; j < kOfBlocks; ++j) sums[i][j] = load(first + j * kBlock);
    }
    const int8_t* weight = weights.weight;
    const int64_t bytes = int64_t(weights.quads) * kQuad, to_next_block = weights.block_bytes;
    for (int32_t run = 0; run < weights.runs; ++run) {
        const uint8_t* inputs[kOfPixels];
        for (int i = 0; i < kOfPixels; ++i) inputs[i] = from[i] + offsets[run];
        for (int64_t at = 0; at < bytes; at += kQuad, weight += kQuadBytes) {
            Lanes factors[kOfBlocks];
            for (int j = 0; j < kOfBlocks; ++j) factors[j] = load(weight + j * to_next_block);
#pragma GCC unroll 8
            for (int i = 0; i < kOfPixels; ++i) {
                const Lanes quads = broadcast_quad(inputs[i] + at);
                for (int j = 0; j < kOfBlocks; ++j) {
                    sums[i][j] = add_products(sums[i][j], quads, factors[j]);
                }
            }
        }
    }
    for (int j = 0; j < kOfBlocks; ++j) {
        for (int i = 0; i < kOfPixels; ++i) store(to + (j * kOfPixels + i) * kBlock, sums[i][j]);
    }
}

template <int kOfPixels>
void sum_of(
    const Weights& weights, int32_t blocks, const uint8_t* const* from, const int64_t* offsets,
    const int32_t* first, int32_t* to) {
    if (blocks == kBlocks) return sum<kOfPixels, kBlocks>(weights, from, offsets, first, to);
    sum<kOfPixels, 1>(weights, from, offsets, first, to);
}

}  // namespace

void sum_products(
    const Weights& weights, int32_t blocks, int32_t pixels, const uint8_t* const* from,
    const int64_t* offsets, const int32_t* first, int32_t* sums) {
    switch (pixels) {
        case 8: return sum_of<8>(weights, blocks, from, offsets, first, sums);
        case 4: return sum_of<4>(weights, blocks, from, offsets, first, sums);
        case 2: return sum_of<2>(weights, blocks, from, offsets, first, sums);
        default: return sum_of<1>(weights, blocks, from, offsets, first, sums);
    }
}

}  // namespace spk::avx512
