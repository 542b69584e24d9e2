// The form that AVX-512 VNNI adds to those of the AVX2 set.
#pragma once

#include <memory>

#include "kernels/kernels.hpp"

namespace spk::avx512 {

// Every weight times every input: products of 8 bits, sums in 32 bits. Serves maps and images
// without groups.
std::unique_ptr<SynapseKernel> make_dense(const Convolution& convolution);
double cost_of_dense(const Convolution& convolution, double nonzero);

}  // namespace spk::avx512
