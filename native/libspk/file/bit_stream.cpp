#include "file/bit_stream.hpp"

#include <algorithm>
#include <cstring>

namespace spk {
namespace {

// Eight values take `bits` bytes, which fit into one integer.
template <int bits>
void unpack_eights(const uint8_t* from, size_t eights, int8_t* to) {
    for (size_t i = 0; i < eights; ++i, from += bits, to += 8) {
        uint64_t stream = 0;
        for (int byte = 0; byte < bits; ++byte) stream |= uint64_t(from[byte]) << (8 * byte);
        for (int value = 0; value < 8; ++value)
            to[value] = int8_t(int8_t(uint8_t(stream >> (value * bits)) << (8 - bits)) >>
                               (8 - bits));
    }
}

int8_t value_at(const uint8_t* packed, size_t size, int bits, size_t index) {
    const size_t bit = index * size_t(bits), byte = bit / 8;
    unsigned pair = packed[byte];
    if (byte + 1 < size) pair |= unsigned(packed[byte + 1]) << 8;
    return int8_t(int8_t(uint8_t(pair >> (bit % 8)) << (8 - bits)) >> (8 - bits));
}

}  // namespace

void unpack(const uint8_t* packed, size_t size, int bits, size_t first, size_t count,
            int8_t* to) {
    if (bits == 8) {
        if (count != 0) std::memcpy(to, packed + first, count);
        return;
    }
    const size_t end = first + count;
    for (; first < end && first % 8 != 0; ++first) *to++ = value_at(packed, size, bits, first);
    const size_t eights = (end - first) / 8;
    const uint8_t* from = packed + first / 8 * size_t(bits);
    switch (bits) {
        case 2: unpack_eights<2>(from, eights, to); break;
        case 3: unpack_eights<3>(from, eights, to); break;
        case 4: unpack_eights<4>(from, eights, to); break;
        case 5: unpack_eights<5>(from, eights, to); break;
        case 6: unpack_eights<6>(from, eights, to); break;
        default: unpack_eights<7>(from, eights, to);
    }
    to += eights * 8;
    for (first += eights * 8; first < end; ++first) *to++ = value_at(packed, size, bits, first);
}

}  // namespace spk
