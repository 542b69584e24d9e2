// Where counts and currents lie: channels last, so that a vector holds channels of one pixel.
#pragma once

#include <atomic>
#include <cstdint>

namespace spk {

constexpr int32_t kCountLanes = 32;    // channels of a count map are padded to this
constexpr int32_t kCurrentLanes = 16;  // and those of a current map to this

inline int32_t round_up(int32_t value, int32_t to) { return (value + to - 1) / to * to; }

// Counts 0..255 as bytes with a border around each image; the image itself as x + 128.
// Channels of padding and the border hold `zero` always. Behind the last pixel there are 256
// readable bytes. Data is aligned to 64 bytes.
struct CountMap {
    int32_t images = 0, channels = 0, height = 0, width = 0;
    int32_t stride = 0;  // bytes from one pixel to the next, a multiple of kCountLanes
    int32_t border = 0;  // pixels
    uint8_t zero = 0;
    uint8_t* data = nullptr;
    // Counts that are not zero, added up by who writes the map, in each run anew.
    std::atomic<int64_t>* nonzeros = nullptr;

    int64_t row_bytes() const { return int64_t(width + 2 * border) * stride; }
    int64_t image_bytes() const { return row_bytes() * (height + 2 * border); }
    uint8_t* pixel(int64_t image, int64_t y, int64_t x) const {
        return data + image * image_bytes() + (y + border) * row_bytes() + (x + border) * stride;
    }
    int64_t pixels() const { return int64_t(images) * height * width; }
};

// Currents as int32 without a border, aligned to 64 bytes; channels of padding hold anything.
struct CurrentMap {
    int32_t images = 0, channels = 0, height = 0, width = 0;
    int32_t stride = 0;  // integers from one pixel to the next, a multiple of kCurrentLanes
    int32_t* data = nullptr;

    int32_t* pixel(int64_t index) const { return data + index * stride; }
    int64_t pixels() const { return int64_t(images) * height * width; }
};

}  // namespace spk
