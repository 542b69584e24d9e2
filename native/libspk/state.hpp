// A session's state as bytes, and what is asked of bytes from elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "executor.hpp"
#include "network/network.hpp"

namespace spk {

// Steps, batch, height and width go before what the executor keeps.
constexpr size_t kStateHeader = 5 * sizeof(int32_t);

void write_state(const Executor& executor, const Settings& settings, int32_t steps, uint8_t* to);

// Gives the steps that the state has seen. Throws Error where it is of another session, or where
// going on from it could leave 32 bits.
int32_t read_state(const Network& network, const std::vector<Shape>& shapes,
                   const Settings& settings, const uint8_t* from, size_t size, Executor& executor);

}  // namespace spk
