// A network from JSON text and tensors, each field within its limits.
#pragma once

#include "file/container.hpp"
#include "network/network.hpp"

namespace spk {

// Throws Error, which names node and field. Whether the nodes fit together is left to
// check_network.
Network build(const Container& container);

}  // namespace spk
