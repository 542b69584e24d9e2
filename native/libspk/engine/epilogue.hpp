// What happens to the sums of a layer while they are still in registers.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/maps.hpp"
#include "network/network.hpp"

namespace spk {

// A neuron that reads the current. Arrays are padded to the stride of currents, per channel, and
// aligned to 64 bytes; thresholds of padding are never reached.
struct Firing {
    int32_t levels = 0;
    // [levels][stride]: the largest potential that does not reach the level (threshold - 1),
    // clamped to 32 bits.
    const int32_t* below = nullptr;
    // Of the equal form round(gain * X + offset), where there is one (T = 1); else null.
    const float* gain = nullptr;
    const float* offset = nullptr;
    // Over T > 1: the membrane [pixels][stride], else null; and what a step adds and removes.
    int32_t* membrane = nullptr;
    const int32_t* bias = nullptr;  // [stride], null where all are zero
    const int32_t* step = nullptr;  // [stride]
    int32_t shift = 0;
    Leak leak{LeakKind::none, 0};
    bool resets_hard = false;
    CountMap to;
};

// Add one map to the current (or none), keep it (or not), let neurons fire.
struct Stage {
    const CurrentMap* add = nullptr;
    CurrentMap* keep = nullptr;  // may be the map that is added
    std::vector<Firing> neurons;
};

// First shift and bias, once per time step, then the stages one after the other. Additions wrap:
// results are proved to fit 32 bits, though a term of them may not.
struct Epilogue {
    int32_t channels = 0;
    // [stride] each, or all null where nothing is shifted and no bias added.
    const int32_t* left = nullptr;
    const int32_t* bias = nullptr;
    const int32_t* right = nullptr;
    std::vector<Stage> stages;
};

}  // namespace spk
