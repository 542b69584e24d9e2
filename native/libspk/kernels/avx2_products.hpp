// Sums of products of bytes and weights, for sixteen outputs and a few pixels at a time.
//
// A product instruction adds pairs of products into 16 bits; further pairs are added there for as
// long as the weights prove that no sum can leave 16 bits, whatever the inputs, and only then in
// 32 bits. How long that is depends on the weights of each block of outputs.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/aligned.hpp"

namespace spk::avx2 {

constexpr int32_t kBlock = 16;   // outputs whose sums lie in two vectors
constexpr int32_t kQuad = 4;     // inputs that a product instruction reads per output
constexpr int32_t kQuadBytes = kBlock * kQuad;

// Inputs that follow each other in memory.
struct Chunk {
    int32_t run, first, quads;
    bool widens;  // the sums go on from zero in 16 bits
};

// Inputs lie in runs of equal length: the taps of a kernel, or their rows.
class PackedWeights {
public:
    // Writes the weights of an output for the inputs of a run.
    using Row = std::function<void(int32_t output, int32_t run, int8_t* to)>;

    PackedWeights() = default;
    // For inputs 0..highest. A block whose pairs could saturate is taken twice, with halves of its
    // weights.
    PackedWeights(
        int32_t outputs, int32_t runs, int32_t length, int32_t highest, const Row& row);

    int32_t blocks() const { return int32_t(chunks_.size()); }
    const std::vector<Chunk>& chunks(int32_t block) const { return chunks_[block]; }
    const int8_t* weight(int32_t block) const { return weight_.data() + start_[block]; }
    // Whether each product is widened, since the sums could hardly stay in 16 bits.
    bool widens_always(int32_t block) const { return widens_always_[block]; }
    size_t bytes() const { return weight_.bytes(); }

private:
    std::vector<std::vector<Chunk>> chunks_;
    std::vector<char> widens_always_;
    std::vector<size_t> start_;
    AlignedArray<int8_t> weight_;
};

inline __m256i load_bytes(const void* from) {
    return _mm256_load_si256(static_cast<const __m256i*>(from));
}

// Four inputs of one pixel, for all outputs.
inline __m256i broadcast_quad(const uint8_t* from) {
    int32_t quad;
    __builtin_memcpy(&quad, from, sizeof quad);
    return _mm256_set1_epi32(quad);
}

// Read anew wherever sums are widened: held in a register, it would push sums out of theirs.
inline __m256i ones() {
    static const volatile int16_t one = 1;
    return _mm256_set1_epi16(one);
}

// Adds to sums[pixel] of outputs 0..7 and 8..15 of a block. A pixel's inputs of a run begin at
// pixels[i] + offsets[run].
template <int kPixels>
inline __attribute__((always_inline)) void add_products(
    const PackedWeights& weights, int32_t block, const uint8_t* const* pixels,
    const int64_t* offsets, __m256i (*sums)[2]) {
    const int8_t* weight = weights.weight(block);
    const bool widens_always = weights.widens_always(block);
    __m256i total[kPixels][2];
    for (int i = 0; i < kPixels; ++i) {
        for (int half = 0; half < 2; ++half) {
            total[i][half] = widens_always ? sums[i][half] : _mm256_setzero_si256();
        }
    }
    for (const Chunk& chunk : weights.chunks(block)) {
        const uint8_t* from[kPixels];
        for (int i = 0; i < kPixels; ++i) {
            from[i] = pixels[i] + offsets[chunk.run] + int64_t(chunk.first) * kQuad;
        }
        const int64_t bytes = int64_t(chunk.quads) * kQuad;
        if (widens_always) {
            const __m256i one = ones();
            for (int64_t at = 0; at < bytes; at += kQuad, weight += kQuadBytes) {
                const __m256i first = load_bytes(weight);
                const __m256i second = load_bytes(weight + 32);
#pragma GCC unroll 8
                for (int i = 0; i < kPixels; ++i) {
                    const __m256i quad = broadcast_quad(from[i] + at);
                    const __m256i low = _mm256_maddubs_epi16(quad, first);
                    const __m256i high = _mm256_maddubs_epi16(quad, second);
                    total[i][0] = _mm256_add_epi32(total[i][0], _mm256_madd_epi16(low, one));
                    total[i][1] = _mm256_add_epi32(total[i][1], _mm256_madd_epi16(high, one));
                }
            }
            continue;
        }
        for (int64_t at = 0; at < bytes; at += kQuad, weight += kQuadBytes) {
            const __m256i first = load_bytes(weight);
            const __m256i second = load_bytes(weight + 32);
#pragma GCC unroll 8
            for (int i = 0; i < kPixels; ++i) {
                const __m256i quad = broadcast_quad(from[i] + at);
                total[i][0] = _mm256_add_epi16(total[i][0], _mm256_maddubs_epi16(quad, first));
                total[i][1] = _mm256_add_epi16(total[i][1], _mm256_maddubs_epi16(quad, second));
            }
        }
        if (!chunk.widens) continue;
        const __m256i one = ones();
        for (int i = 0; i < kPixels; ++i) {
            for (int half = 0; half < 2; ++half) {
                const __m256i wide = _mm256_madd_epi16(total[i][half], one);
                sums[i][half] = _mm256_add_epi32(sums[i][half], wide);
                total[i][half] = _mm256_setzero_si256();
            }
        }
    }
    if (!widens_always) return;
    for (int i = 0; i < kPixels; ++i) {
        sums[i][0] = total[i][0];
        sums[i][1] = total[i][1];
    }
}

}  // namespace spk::avx2
