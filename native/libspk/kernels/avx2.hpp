// The forms of the AVX2 set; null where one does not serve or cannot be proved exact.
#pragma once

#include <memory>

#include "kernels/kernels.hpp"

namespace spk::avx2 {

// Every weight times every input: products of 8 bits, sums in 16 bits for as long as the weights
// prove it. Serves maps and images without groups.
std::unique_ptr<SynapseKernel> make_dense(const Convolution& convolution);
double cost_of_dense(const Convolution& convolution, double nonzero);

// Inputs that are not zero alone, from lists of them. Serves maps without groups.
std::unique_ptr<SynapseKernel> make_sparse(const Convolution& convolution);
double cost_of_sparse(const Convolution& convolution, double nonzero);

// 3x3 convolutions with less than half the products, of weights with few bits.
std::unique_ptr<SynapseKernel> make_winograd(const Convolution& convolution);
double cost_of_winograd(const Convolution& convolution, double nonzero);

// A kernel of its own for each channel, of side 3, 5 or 7, stride 1 or 2.
std::unique_ptr<SynapseKernel> make_depthwise(const Convolution& convolution);
double cost_of_depthwise(const Convolution& convolution, double nonzero);

// Heads of any size, any number of tokens.
std::unique_ptr<AttentionKernel> make_attention(const AttentionShape& shape);

// The epilogue of sums that lie in memory, pixels begin..end.
void finish(
    const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end);

}  // namespace spk::avx2
