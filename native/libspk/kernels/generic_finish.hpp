// The epilogue in portable C++.
#pragma once

#include <cstdint>

#include "engine/epilogue.hpp"

namespace spk {

// See InstructionSet::finish.
void generic_finish(
    const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end);

}  // namespace spk
