// What the dense kernels of every instruction set share: the order of inputs, and which pixels and
// outputs a task takes.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/aligned.hpp"
#include "kernels/kernels.hpp"
#include "kernels/places.hpp"

namespace spk {

// The inputs of an output lie in runs of equal length: the rows of a kernel where its taps follow
// each other in memory, else the taps.
class DenseInputs {
public:
    explicit DenseInputs(const Convolution& convolution);

    int32_t runs() const { return runs_; }
    int32_t length() const { return taps_of_run_ * inputs_; }
    // Writes the weights of an output for the inputs of a run.
    void row(const Convolution& convolution, int32_t output, int32_t run, int8_t* to) const;
    // From a pixel's first input to those of each run, in bytes.
    std::vector<int64_t> offsets(const CountMap& from) const;

private:
    int32_t inputs_, side_, taps_of_run_, runs_;
};

// What the zero of a map adds to the sums of each output, subtracted.
AlignedArray<int32_t> correction_of_zero(const Convolution& convolution, int32_t lanes);

// Pixels of the output, and where the inputs of each begin.
struct DenseTile {
    std::vector<Place> places;
    std::vector<const uint8_t*> from;
    int64_t count = 0;
};

struct DensePart {
    int32_t first_block, last_block;  // of outputs
    int64_t first, last;              // pixels
};

// Threads share what is larger: inputs or weights. Kernels sum `group` pixels at once.
void share_dense(
    const Convolution& convolution, const CountMap& from, int32_t blocks, size_t weight_bytes,
    int32_t group, Threads& threads, const std::function<void(const DensePart&)>& work);

// Tiles of a part whose inputs stay in the second cache.
void walk_tiles(
    const Convolution& convolution, const CountMap& from, const DensePart& part, int32_t group,
    const std::function<void(const DenseTile&)>& work);

}  // namespace spk
