// Sums of products of bytes and weights, for 16 or 32 pixels and as many outputs, by the units of
// a processor for products of matrices.
#pragma once

#include <cstdint>

namespace spk::amx {

constexpr int32_t kPixels = 16;   // rows of a tile of inputs, and of sums
constexpr int32_t kBlock = 16;    // outputs: columns of a tile of sums
constexpr int32_t kDepth = 64;    // inputs: bytes in a row of a tile
constexpr int32_t kTileBytes = 1024;
constexpr int32_t kSums = kPixels * kBlock;
// Tiles of pixels and of outputs that are at work at once: four of sums, two of each factor.
constexpr int32_t kTiles = 2;

// Where the inputs of 16 pixels lie: those of a run begin at from + offsets[run], and a pixel's
// `stride` bytes behind those of the pixel before.
struct Inputs {
    const uint8_t* from;
    int64_t stride;
    const int64_t* offsets;
};

// Weights as [block of outputs][run][tile of depth][four inputs][output][input of the four].
struct Weights {
    const int8_t* weight;  // of the first block
    int64_t block_bytes;
    int32_t runs, depth_tiles;  // tiles of a run
};

// A thread says so before its first sums, and after its last, whereupon nothing is left in the
// units that others would have to save.
void begin();
void end();

// Sums of `tiles` x 16 pixels and `blocks` x 16 outputs, 1 or 2 each, as [tile of pixels][block]
// [pixel][output].
void sum_products(
    const Weights& weights, const Inputs* inputs, int32_t tiles, int32_t blocks, int32_t* sums);

}  // namespace spk::amx
