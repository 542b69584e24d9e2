// Whole files, and numbers in them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spk::command {

// Throws Mistake where it cannot be read or is too large.
std::string read_file(const std::string& path);

struct Numbers {
    std::vector<int64_t> shape;  // empty of bare numbers
    std::vector<float> values;
};

// An .npy file of float32 in C order, or bare little-endian float32.
Numbers read_numbers(const std::string& path);

bool ends_with(const std::string& text, const std::string& ending);

}  // namespace spk::command
