// Limits of fields. Within them no arithmetic of the range proof leaves 128 bits, and what reading
// allocates grows with the file alone.
#pragma once

#include <cstdint>

namespace spk {

struct Limits {
    int64_t low, high;
};

constexpr size_t kMostNodes = 4096;
constexpr size_t kMostName = 200;
constexpr int64_t kMostSide = 1 << 16;
constexpr int64_t kMostWeights = int64_t(1) << 28;
constexpr int64_t kMostWeightsPerOutput = int64_t(1) << 24;

constexpr Limits kSteps{1, 1 << 16};
constexpr Limits kChannels{1, 1 << 16};
constexpr Limits kInhibitory{0, 1 << 16};
constexpr Limits kKernelStep{1, 255};
constexpr Limits kShift{-31, 31};
constexpr Limits kLeftShift{0, 31};
constexpr Limits kInt32{1 - (int64_t(1) << 31), (int64_t(1) << 31) - 1};
constexpr Limits kNotNegative{0, (int64_t(1) << 31) - 1};
constexpr Limits kExact{-(1 << 24), 1 << 24};
// A channel of tiny weights may have thresholds out of reach, beyond 32 bits.
constexpr Limits kThreshold{-(int64_t(1) << 53), int64_t(1) << 53};

}  // namespace spk
