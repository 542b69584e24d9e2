#include "kernels/amx_products.hpp"

#include <cstring>

namespace spk::amx {
namespace {

constexpr int kRowBytes = 64;
constexpr int kAhead = 2;  // tiles of weights that are fetched before they are read

#if defined(SPK_EMULATE_AMX) || defined(SPK_NO_AMX)

// What the instructions are defined to do: tests/emulated_amx.cpp.
thread_local int32_t tile_of_sums[kTiles][kTiles][kPixels][kBlock];
thread_local uint8_t tile_of_inputs[kTiles][kPixels][kDepth];
thread_local int8_t tile_of_weights[kTiles][kDepth / 4][kBlock][4];

template <int kAt, int kBeside>
void clear() {
    std::memset(tile_of_sums[kAt][kBeside], 0, kTileBytes);
}

template <int kAt>
void load_inputs(const uint8_t* from, int64_t stride) {
    for (auto& row : tile_of_inputs[kAt]) {
        std::memcpy(row, from, sizeof row);
        from += stride;
    }
}

template <int kAt>
void load_weights(const int8_t* from) {
    std::memcpy(tile_of_weights[kAt], from, kTileBytes);
}

template <int kAt, int kBeside>
void add() {
    for (int32_t pixel = 0; pixel < kPixels; ++pixel) {
        for (int32_t output = 0; output < kBlock; ++output) {
            uint32_t sum = uint32_t(tile_of_sums[kAt][kBeside][pixel][output]);
            for (int32_t i = 0; i < kDepth; ++i) {
                sum += uint32_t(tile_of_inputs[kAt][pixel][i] *
                                tile_of_weights[kBeside][i / 4][output][i % 4]);
            }
            tile_of_sums[kAt][kBeside][pixel][output] = int32_t(sum);
        }
    }
}

template <int kAt, int kBeside>
void store(int32_t* to) {
    std::memcpy(to, tile_of_sums[kAt][kBeside], kTileBytes);
}

#else

// Tiles 0 to 3 hold sums, 4 and 5 inputs, 6 and 7 weights. Written out, since compilers' own names
// of these instructions take no number that a template computes.
template <int kAt, int kBeside>
void clear() {
    asm volatile("tilezero %%tmm%c0" : : "i"(2 * kAt + kBeside));
}

template <int kTile>
void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kAt>
void load_inputs(const uint8_t* from, int64_t stride) {
    load<4 + kAt>(from, stride);
}

template <int kAt>
void load_weights(const int8_t* from) {
    load<6 + kAt>(from, kRowBytes);
}

// Sums, in 32 bits that may wrap, of bytes without sign times bytes with one.
template <int kAt, int kBeside>
void add() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(2 * kAt + kBeside), "i"(4 + kAt), "i"(6 + kBeside));
}

template <int kAt, int kBeside>
void store(int32_t* to) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)"
                 :
                 : "r"(to), "r"(int64_t(kRowBytes)), "i"(2 * kAt + kBeside)
                 : "memory");
}

#endif

template <int kOfBlocks>
void fetch(const int8_t* weight, int64_t to_next_block) {
    for (int block = 0; block < kOfBlocks; ++block) {
        for (int line = 0; line < kTileBytes; line += kRowBytes) {
            __builtin_prefetch(weight + block * to_next_block + kAhead * kTileBytes + line);
        }
    }
}

template <int kOfTiles, int kOfBlocks>
void sum(const Weights& weights, const Inputs* inputs, int32_t* to) {
    clear<0, 0>();
    if constexpr (kOfBlocks == 2) clear<0, 1>();
    if constexpr (kOfTiles == 2) clear<1, 0>();
    if constexpr (kOfTiles == 2 && kOfBlocks == 2) clear<1, 1>();
    const int8_t* weight = weights.weight;
    const int64_t to_next_block = weights.block_bytes;
    const int64_t depth = int64_t(weights.depth_tiles) * kDepth;
    const int64_t stride = inputs[0].stride, other_stride = inputs[kOfTiles - 1].stride;
    for (int32_t run = 0; run < weights.runs; ++run) {
        const uint8_t* from = inputs[0].from + inputs[0].offsets[run];
        const uint8_t* other = inputs[kOfTiles - 1].from + inputs[kOfTiles - 1].offsets[run];
        for (int64_t at = 0; at < depth; at += kDepth, weight += kTileBytes) {
            load_weights<0>(weight);
            load_inputs<0>(from + at, stride);
            add<0, 0>();
            if constexpr (kOfBlocks == 2) {
                load_weights<1>(weight + to_next_block);
                add<0, 1>();
            }
            if constexpr (kOfTiles == 2) {
                load_inputs<1>(other + at, other_stride);
                add<1, 0>();
            }
            if constexpr (kOfTiles == 2 && kOfBlocks == 2) add<1, 1>();
            fetch<kOfBlocks>(weight, to_next_block);
        }
    }
    store<0, 0>(to);
    if constexpr (kOfBlocks == 2) store<0, 1>(to + kSums);
    if constexpr (kOfTiles == 2) store<1, 0>(to + kOfBlocks * kSums);
    if constexpr (kOfTiles == 2 && kOfBlocks == 2) store<1, 1>(to + (kOfBlocks + 1) * kSums);
}

}  // namespace

#if defined(SPK_EMULATE_AMX) || defined(SPK_NO_AMX)
void begin() {}
void end() {}
#else
void begin() {
    struct alignas(64) {
        uint8_t palette = 1, first_row = 0, reserved[14] = {};
        uint16_t bytes[16] = {};
        uint8_t rows[16] = {};
    } tiles;
    for (int i = 0; i < 8; ++i) tiles.bytes[i] = kRowBytes, tiles.rows[i] = kPixels;
    asm volatile("ldtilecfg %0" : : "m"(tiles));
}

void end() { asm volatile("tilerelease"); }
#endif

void sum_products(
    const Weights& weights, const Inputs* inputs, int32_t tiles, int32_t blocks, int32_t* sums) {
    if (tiles == 2) {
        if (blocks == 2) return sum<2, 2>(weights, inputs, sums);
        return sum<2, 1>(weights, inputs, sums);
    }
    if (blocks == 2) return sum<1, 2>(weights, inputs, sums);
    sum<1, 1>(weights, inputs, sums);
}

}  // namespace spk::amx
