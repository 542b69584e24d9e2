// The instruction sets of this library that the processor has.
#pragma once

#include <string>

#include "kernels/kernels.hpp"

namespace spk {

// By name, or the best one for an empty name; throws Error where it is not here.
const InstructionSet& instruction_set(const std::string& name);

}  // namespace spk
