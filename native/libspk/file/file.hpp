// The .spk file: a safetensors container with the nodes as JSON and a checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "network/network.hpp"

namespace spk {

// Throws Error with the status and a text that names the field and the remedy.
Network read_network(const uint8_t* bytes, size_t size);
// Of a file on disk; not mapped, since others may change it meanwhile.
Network open_network(const std::string& path);

}  // namespace spk
