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

struct DensePart {
    int32_t first_block, last_block;  // of outputs
    int64_t first, last;              // pixels
};

// Threads share what is larger: inputs or weights. Kernels sum `group` pixels at once.
void share_dense(
    const Convolution& convolution, const CountMap& from, int32_t blocks, size_t weight_bytes,
    int32_t group, Threads& threads, const std::function<void(const DensePart&)>& work);

// Some pixels of a part after the other, as many as have inputs that stay in the second cache.
class DenseTiles {
public:
    DenseTiles(
        const Convolution& convolution, const CountMap& from, const DensePart& part, int32_t group);

    // Whether there is a tile left, which is now this one.
    bool next();

    int64_t count() const { return count_; }
    const Place* places() const { return places_.data(); }
    const uint8_t* const* from() const { return starts_.data(); }  // where inputs begin

private:
    const Convolution& convolution_;
    const CountMap& from_;
    const int64_t last_;
    Place place_;
    int64_t count_ = 0;
    std::vector<Place> places_;
    std::vector<const uint8_t*> starts_;
};

}  // namespace spk
