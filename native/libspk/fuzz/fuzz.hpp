// Any bytes as a .spk file: refused, or run by all kernels alike.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spk {

// What came of the files so far.
struct Fuzzed {
    long refused = 0;
    long too_large = 0;  // networks that were read and take too long to run here
    long run = 0;
};
extern Fuzzed fuzzed;

}  // namespace spk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);
