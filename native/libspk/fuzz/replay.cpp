// Feeds files to the fuzz target without libFuzzer: from standard input, each after its size in
// eight bytes, little-endian; or from the paths that are passed.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/fuzz.hpp"

namespace {

bool read_exactly(uint8_t* to, size_t size) { return std::fread(to, 1, size, stdin) == size; }

bool read_file(std::vector<uint8_t>& file) {
    uint8_t prefix[8];
    if (!read_exactly(prefix, sizeof prefix)) return false;
    size_t size = 0;
    for (int i = 7; i >= 0; --i) size = size << 8 | prefix[i];
    file.resize(size);
    return read_exactly(file.data(), size);
}

}  // namespace

int main(int count, char** arguments) {
    for (int i = 1; i < count; ++i) {
        std::ifstream stream(arguments[i], std::ios::binary);
        const std::vector<char> file((std::istreambuf_iterator<char>(stream)), {});
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(file.data()), file.size());
    }
    std::vector<uint8_t> file;
    while (count == 1 && read_file(file)) LLVMFuzzerTestOneInput(file.data(), file.size());
    std::printf("{\"refused\": %ld, \"too_large\": %ld, \"run\": %ld}\n", spk::fuzzed.refused,
                spk::fuzzed.too_large, spk::fuzzed.run);
}
