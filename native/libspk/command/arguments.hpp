// What the command line asks for.
#pragma once

#include <cstdint>
#include <string>

namespace spk::command {

struct Arguments {
    std::string network, input;  // files; `input` may be empty
    std::string kernels, form;   // empty: the fastest
    std::string golden;          // a folder of golden vectors, or empty
    int32_t batch = 1, threads = 0, rounds = 15;
    int32_t height = 0, width = 0;
    bool frames = false, bench = false, observe = false, json = false, help = false;
    bool version = false;
};

// Throws Mistake.
Arguments read_arguments(int count, char** words);
const char* usage();

}  // namespace spk::command
