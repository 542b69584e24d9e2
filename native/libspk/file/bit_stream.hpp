// Signed integers of 2 to 8 bits without gaps: value i takes the bits [i * bits, (i + 1) * bits),
// lowest first, in two's complement; bit j is bit j % 8 of byte j / 8.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spk {

// Bytes that hold so many values.
constexpr size_t packed_length(size_t count, int bits) { return (count * size_t(bits) + 7) / 8; }
// Values first..first + count - 1 of a stream of `size` bytes.
void unpack(const uint8_t* packed, size_t size, int bits, size_t first, size_t count, int8_t* to);

}  // namespace spk
