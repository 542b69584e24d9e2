// The form that AMX adds to those of the AVX-512 set.
#pragma once

#include <memory>

#include "kernels/kernels.hpp"

namespace spk::amx {

// Every weight times every input, as products of matrices of bytes with sums in 32 bits. Serves
// maps of at least 32 channels, without groups.
std::unique_ptr<SynapseKernel> make_tiles(const Convolution& convolution);
double cost_of_tiles(const Convolution& convolution, double nonzero);

}  // namespace spk::amx
