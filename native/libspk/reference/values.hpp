// What travels between the nodes of the reference: integers of one time step.
#pragma once

#include <cstdint>
#include <vector>

#include "network/network.hpp"

namespace spk::reference {

// [batch][channels][height][width]
struct Value {
    int64_t batch = 0;
    Shape shape{};
    std::vector<int64_t> data;

    Value() = default;
    Value(int64_t batch, const Shape& shape)
        : batch(batch), shape(shape), data(size_t(batch * shape.elements()), 0) {}

    // One channel of one sample.
    int64_t* plane(int64_t sample, int64_t channel) {
        return data.data() + (sample * shape.channels + channel) * shape.pixels();
    }
    const int64_t* plane(int64_t sample, int64_t channel) const {
        return data.data() + (sample * shape.channels + channel) * shape.pixels();
    }
};

inline int64_t shifted_left(int64_t value, int32_t bits) { return value * (int64_t(1) << bits); }
// floor(value / 2^bits)
inline int64_t shifted_right(int64_t value, int32_t bits) {
    return value >= 0 ? value >> bits : ~(~value >> bits);
}
// floor(value / 2^bits + 1 / 2)
inline int64_t rounded_right(int64_t value, int32_t bits) {
    return shifted_right(value + ((int64_t(1) << bits) >> 1), bits);
}
// What lies per channel, or once for all channels.
template <typename T>
T of_channel(const std::vector<T>& values, int64_t channel) {
    return values[values.size() == 1 ? 0 : size_t(channel)];
}

}  // namespace spk::reference
