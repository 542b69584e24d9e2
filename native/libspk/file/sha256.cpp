#include "file/sha256.hpp"

#include <algorithm>
#include <cstring>

#include "file/sha256_constants.hpp"

namespace spk {
namespace {

uint32_t rotate(uint32_t x, int by) { return (x >> by) | (x << (32 - by)); }

void add_blocks(uint32_t* state, const uint8_t* bytes, size_t blocks) {
    static const bool by_instructions = has_sha_instructions();
    if (by_instructions)
        sha256_blocks_by_instructions(state, bytes, blocks);
    else
        sha256_blocks(state, bytes, blocks);
}

}  // namespace

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
      rest_{} {}

void Sha256::update(const uint8_t* bytes, size_t size) {
    if (size == 0) return;
    const size_t kept = size_t(size_ % 64);
    size_ += size;
    if (kept != 0) {
        const size_t taken = std::min(size, 64 - kept);
        std::memcpy(rest_.data() + kept, bytes, taken);
        bytes += taken;
        size -= taken;
        if (kept + taken < 64) return;
        add_blocks(state_.data(), rest_.data(), 1);
    }
    add_blocks(state_.data(), bytes, size / 64);
    std::memcpy(rest_.data(), bytes + size / 64 * 64, size % 64);
}

std::string Sha256::digest() {
    const uint64_t bits = size_ * 8;
    uint8_t end[72] = {0x80};
    const size_t padding = 1 + (119 - size_t(size_ % 64)) % 64;
    for (int i = 0; i < 8; ++i) end[padding + size_t(i)] = uint8_t(bits >> (56 - 8 * i));
    update(end, padding + 8);
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (const uint32_t word : state_)
        for (int shift = 28; shift >= 0; shift -= 4) text.push_back(digits[(word >> shift) & 15]);
    return text;
}

void sha256_blocks(uint32_t* state, const uint8_t* bytes, size_t blocks) {
    for (; blocks > 0; --blocks, bytes += 64) {
        uint32_t w[64];
        for (int i = 0; i < 16; ++i)
            w[i] = uint32_t(bytes[4 * i]) << 24 | uint32_t(bytes[4 * i + 1]) << 16 |
                   uint32_t(bytes[4 * i + 2]) << 8 | uint32_t(bytes[4 * i + 3]);
        for (int i = 16; i < 64; ++i) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)) +
                   (rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10));
        }
        uint32_t s[8];
        std::memcpy(s, state, sizeof s);
        for (int i = 0; i < 64; ++i) {
            const uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                                 ((s[4] & s[5]) ^ (~s[4] & s[6])) + kSha256Constants[i] + w[i];
            const uint32_t two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
                                 ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            std::memmove(s + 1, s, 7 * sizeof *s);
            s[4] += one;
            s[0] = one + two;
        }
        for (int i = 0; i < 8; ++i) state[i] += s[i];
    }
}

}  // namespace spk
