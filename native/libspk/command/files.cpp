#include "command/files.hpp"

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "command/mistake.hpp"

namespace spk::command {

namespace {

constexpr int64_t kMostBytes = int64_t(1) << 30;
constexpr size_t kMostAxes = 5;

std::vector<float> floats_of(const std::string& path, const char* bytes, size_t size) {
    require(size % sizeof(float) == 0, path + " does not hold whole float32 numbers");
    std::vector<float> values(size / sizeof(float));
    for (size_t i = 0; i < values.size(); i++) {
        uint32_t bits = 0;
        for (size_t byte = 0; byte < sizeof(float); byte++)
            bits |= uint32_t(uint8_t(bytes[i * sizeof(float) + byte])) << (8 * byte);
        std::memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
}

// The text behind a key of the header, which is a Python dictionary.
std::string field(const std::string& header, const std::string& key) {
    const size_t at = header.find("'" + key + "':");
    return at == std::string::npos ? "" : header.substr(at + key.size() + 3);
}

std::vector<int64_t> shape_of(const std::string& path, const std::string& text) {
    std::vector<int64_t> shape;
    int64_t elements = 1;
    const char* at = text.c_str() + text.find('(') + 1;
    while (true) {
        char* end = nullptr;
        const long long side = std::strtoll(at, &end, 10);
        if (end == at) break;
        const bool fits = side >= 1 && side <= kMostBytes / elements && shape.size() < kMostAxes;
        require(fits, path + " has no shape of an input");
        shape.push_back(side);
        elements *= side;
        at = *end == ',' ? end + 1 : end;
    }
    return shape;
}

Numbers read_npy(const std::string& path, const std::string& bytes) {
    const bool begins = bytes.size() >= 12 && bytes.compare(0, 6, "\x93NUMPY") == 0;
    require(begins, path + " is no .npy file");
    const bool is_first = bytes[6] == 1;
    const size_t start = is_first ? 10 : 12;
    size_t length = 0;
    for (size_t byte = start; byte-- > 8;) length = length << 8 | uint8_t(bytes[byte]);
    require(length <= bytes.size() - start, path + " is cut off");
    const std::string header = bytes.substr(start, length);
    require(field(header, "descr").find("'<f4'") < 3 &&
                field(header, "fortran_order").find("False") < 3,
            path + " does not hold float32 in C order; write it by x.astype(\"float32\")");
    Numbers numbers;
    const std::string shape = field(header, "shape");
    require(shape.find('(') < 3, path + " has no shape");
    numbers.shape = shape_of(path, shape);
    numbers.values =
        floats_of(path, bytes.data() + start + length, bytes.size() - start - length);
    int64_t elements = 1;
    for (int64_t side : numbers.shape) elements *= side;
    require(elements == int64_t(numbers.values.size()), path + " is cut off or too long");
    return numbers;
}

}  // namespace

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    const int64_t size = file ? int64_t(file.tellg()) : -1;
    require(size >= 0, path + " cannot be read; pass the path of a file");
    require(size <= kMostBytes, path + " is larger than any input");
    std::string bytes(size_t(size), '\0');
    file.seekg(0);
    file.read(bytes.data(), size);
    require(bool(file), path + " cannot be read");
    return bytes;
}

Numbers read_numbers(const std::string& path) {
    const std::string bytes = read_file(path);
    if (ends_with(path, ".npy")) return read_npy(path, bytes);
    return {{}, floats_of(path, bytes.data(), bytes.size())};
}

bool ends_with(const std::string& text, const std::string& ending) {
    return text.size() >= ending.size() &&
           text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

}  // namespace spk::command
