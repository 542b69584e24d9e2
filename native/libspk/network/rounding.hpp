// Whether the multiplication that stands for a neuron's thresholds gives the same counts.
#pragma once

#include "network/network.hpp"

namespace spk {

// `magnitude`: the largest of the neuron's current. Null if it does, else what is wrong.
const char* find_fault(const Neuron& neuron, const Rounding& form, int64_t magnitude);

}  // namespace spk
