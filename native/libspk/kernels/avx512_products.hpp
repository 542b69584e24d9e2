// Sums of products of bytes and weights, for one or two vectors of outputs and a few pixels.
#pragma once

#include <cstdint>

namespace spk::avx512 {

constexpr int32_t kBlock = 16;  // outputs whose sums lie in a vector
constexpr int32_t kQuad = 4;    // inputs that a product instruction reads per output
constexpr int32_t kQuadBytes = kBlock * kQuad;

// Two blocks of outputs for eight pixels: more sums at work than an instruction takes cycles, on
// two ports, and no more addresses than there are registers.
constexpr int32_t kPixels = 8;
constexpr int32_t kBlocks = 2;

// Weights as [block of outputs][run][quad][output][input of the quad].
struct Weights {
    const int8_t* weight;  // of the first block, aligned to 64 bytes
    int64_t block_bytes;
    int32_t runs, quads;  // quads of a run
};

// Sums of 8, 4, 2 or 1 pixels, as [block][pixel][output of the block], aligned to 64 bytes. They
// begin at `first`, [block][output of the block]. A pixel's inputs of a run begin at
// from[i] + offsets[run].
void sum_products(
    const Weights& weights, int32_t blocks, int32_t pixels, const uint8_t* const* from,
    const int64_t* offsets, const int32_t* first, int32_t* sums);

}  // namespace spk::avx512
