// What Python says of a neuron and of a call: the ctypes structures of neurons/native.py,
// neurons/native_norm.py and synapses/native_pooling.py have the same fields in the same order.

#pragma once

#include <cstdint>

enum Surrogate : int32_t {
    kSigmoid = 0,
    kRectangular = 1,
    kArctan = 2,
    kStraightThroughClosed = 3,
    kStraightThroughOpen = 4,
};

enum Storage : int32_t { kFloat32 = 0, kFloat64 = 1, kBFloat16 = 2, kFloat16 = 3 };

struct NeuronRule {
    int32_t steps, levels, ties_even, hard_reset, decay_input, detach_reset, surrogate;
    double threshold, offset, unit, retain, surrogate_shape;
};

// Tensors over time are [steps, columns] without gaps, membranes [columns]; a null one is absent.
struct ForwardCall {
    const NeuronRule* rule;
    const void *current, *membrane;
    void *spikes, *last_membrane;
    uint8_t* mask;  // asked for only at one time step from rest, of a straight-through neuron
    int64_t columns;
    int32_t storage;
};

struct BackwardCall {
    const NeuronRule* rule;
    const void *grad_spikes, *grad_last_membrane, *current, *membrane;
    void *grad_current, *grad_membrane;
    const uint8_t* mask;  // the forward pass's, instead of `current`
    int64_t columns;
    int32_t storage;
};

// A batch normalisation and the neuron behind it, on [steps * rows, channels]; vectors of channels
// are in the compute type. Which of them a function reads or writes, dispatch.cpp says.
struct NormCall {
    const NeuronRule* rule;
    const void *input, *grad_output;
    void *output, *grad_input;
    const void *weight, *bias;
    void *running_mean, *running_var;
    void *mean, *inverse_deviation, *gain, *shift, *tilt, *constant, *grad_weight, *grad_bias;
    double eps, momentum;
    int64_t rows, channels;
    int32_t storage, by_batch;
};

// Max pooling of [images, height, width, channels]: norm has input, grad_output, output, grad_input,
// channels and storage and, where a normalisation stands before, what it needs; else a null gain.
struct PoolCall {
    NormCall norm;
    uint8_t* index;
    int64_t images, height, width, out_height, out_width, kernel, stride, padding;
};
