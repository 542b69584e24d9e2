// Weights in the order in which counts that are not zero ask for them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/aligned.hpp"
#include "kernels/kernels.hpp"

namespace spk::avx2 {

constexpr int32_t kVector = 32;      // outputs whose weights lie in a vector
constexpr int32_t kMostVectors = 4;  // whose sums fill the registers

// Weights of the rows of a kernel and of segments of inputs. A unit is a row and a segment; within
// it sums stay in 16 bits, whatever the inputs, and between units for as long as that is proved.
struct Slabs {
    int32_t segment = 0, segments = 0, vectors = 0, blocks = 0;
    AlignedArray<int8_t> weight;  // [block][unit][column][channel of segment][output]
    std::vector<char> widens;     // [block][unit]: after it

    int32_t width() const { return vectors * kVector; }
};

// Vectors of a block, such that blocks are few and none is mostly padding.
int32_t choose_vectors(int32_t outputs);

// False where sums of a unit could leave 16 bits.
bool pack_slabs(const Convolution& shape, int32_t segment, Slabs& slabs);

}  // namespace spk::avx2
