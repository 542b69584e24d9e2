// One set of kernels per instruction set, and the table by which dispatch.cpp calls them.

#pragma once

#include "neuron_rule.hpp"

struct Kernels {
    const char* name;
    // Columns [begin, end) of a call; streaming stores want tensors aligned to a cache line.
    void (*neuron_forward)(const ForwardCall&, int64_t begin, int64_t end, bool streaming);
    void (*neuron_backward)(const BackwardCall&, int64_t begin, int64_t end, bool streaming,
                            double* grad_retain);
    // Rows of a normalisation's input.
    void (*norm_sum_rows)(const NormCall&, int64_t begin, int64_t end, double* mean,
                          double* squares);
    void (*norm_forward)(const NormCall&, int64_t begin, int64_t end, bool streaming);
    void (*norm_backward)(const NormCall&, int64_t begin, int64_t end, double* sums,
                          double* products);
    void (*norm_finish)(const NormCall&, int64_t begin, int64_t end, bool streaming);
    void (*pool_forward)(const PoolCall&, int64_t begin, int64_t end);
    void (*pool_backward)(const PoolCall&, int64_t begin, int64_t end, double* sums,
                          double* products);
};

extern const Kernels portable_kernels;
#if defined(SPIKESIGHT_X86)
extern const Kernels avx2_kernels, avx512_kernels;
#endif
