// The checksum SHA-256 (FIPS 180-4).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace spk {

class Sha256 {
public:
    Sha256();
    void update(const uint8_t* bytes, size_t size);
    // In hexadecimal; nothing can be added afterwards.
    std::string digest();

private:
    std::array<uint32_t, 8> state_;
    std::array<uint8_t, 64> rest_;  // of an unfinished block
    uint64_t size_ = 0;
};

// Adds whole blocks of 64 bytes to a state.
void sha256_blocks(uint32_t* state, const uint8_t* bytes, size_t blocks);
// The same with the processor's instructions, where it has them.
bool has_sha_instructions();
void sha256_blocks_by_instructions(uint32_t* state, const uint8_t* bytes, size_t blocks);

}  // namespace spk
