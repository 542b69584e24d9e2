// What a network is given: a photo as its card says, numbers of a file, or noise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "command/arguments.hpp"
#include "command/network.hpp"

namespace spk::command {

struct Input {
    int32_t batch, height, width;
    bool frames;
    std::vector<float> values;
};

Input read_input(const Arguments& arguments, const Network& network);
// Names of the classes in the order of the logits; empty where the card says none.
std::vector<std::string> classes_of(const Network& network);

}  // namespace spk::command
