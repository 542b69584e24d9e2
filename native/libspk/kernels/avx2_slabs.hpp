// Weights in the order in which counts that are not zero ask for them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/aligned.hpp"
#include "kernels/kernels.hpp"

namespace spk::avx2 {

constexpr int32_t kVector = 32;      // outputs whose weights lie in a vector
constexpr int32_t kMostVectors = 4;  // whose sums fill the registers

// Which weights are read together: so many columns of a row of the kernel, for so many inputs.
struct Piece {
    int32_t columns, segment;

    int64_t size() const { return int64_t(columns) * segment; }
};

// Weights in pieces. A unit is a row, a segment and the columns of a piece; within it sums stay in
// 16 bits, whatever the inputs, and between units for as long as that is proved.
struct Slabs {
    Piece piece{};
    int32_t segments = 0;  // of inputs
    int32_t strips = 0;    // of columns
    int32_t vectors = 0, blocks = 0, units = 0;
    AlignedArray<int8_t> weight;  // [block][unit][column][channel of segment][output]
    std::vector<char> widens;     // [block][unit]: after it

    int32_t width() const { return vectors * kVector; }
    // Of a unit: the row, the segment and the first column.
    int32_t row_of(int32_t unit) const { return unit / strips / segments; }
    int32_t segment_of(int32_t unit) const { return unit / strips % segments; }
    int32_t column_of(int32_t unit) const { return unit % strips * piece.columns; }
};

// Vectors of a block, such that blocks are few and none is mostly padding.
int32_t choose_vectors(int32_t outputs);

// False where sums of a unit could leave 16 bits.
bool pack_slabs(const Convolution& shape, Piece piece, Slabs& slabs);

}  // namespace spk::avx2
