// Which values are counts of spikes: of neurons, their maxima, sums and products.
#pragma once

#include <optional>
#include <vector>

#include "network/network.hpp"

namespace spk {

struct Counts {
    int64_t levels;  // largest count per time step, at most kMostLevels
    bool ordered;    // sub-step d holds a spike where the count is at least d
};
constexpr int64_t kMostLevels = int64_t(1) << 24;

// Of every node, none where its value is no count.
std::vector<std::optional<Counts>> counts_of(const Network& network);

}  // namespace spk
