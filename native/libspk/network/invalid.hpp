// Nodes that are no network.
#pragma once

#include <string>

#include "error.hpp"
#include "network/network.hpp"

namespace spk {

// Throws Error with a node's name and the problem.
[[noreturn]] inline void refuse(const Node& node, const std::string& problem) {
    throw Error(SPK_NO_NETWORK,
                "'" + node.name + "': " + problem + "; do not use it; save the network again");
}

inline void require(const Node& node, bool holds, const char* problem) {
    if (!holds) refuse(node, problem);
}

}  // namespace spk
