// Golden vectors: the integers of every layer on some inputs, a file of hexadecimal digits each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command/arguments.hpp"
#include "command/network.hpp"

namespace spk::command {

struct GoldenLayer {
    std::string name;
    int64_t compared = 0, differing = 0;
};

// Compares all counts and logits with those in the folder that the arguments name.
std::vector<GoldenLayer> compare_with_golden(const Arguments& arguments, const Network& network);

}  // namespace spk::command
