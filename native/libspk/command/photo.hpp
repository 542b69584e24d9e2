// Photos as bytes: reading, resizing, cropping.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spk::command {

// [height][width][channels]
struct Photo {
    int64_t height = 0, width = 0, channels = 0;
    std::vector<uint8_t> bytes;

    uint8_t& at(int64_t y, int64_t x, int64_t channel) {
        return bytes[size_t((y * width + x) * channels + channel)];
    }
    uint8_t at(int64_t y, int64_t x, int64_t channel) const {
        return bytes[size_t((y * width + x) * channels + channel)];
    }
};

// A .ppm or .pgm file: P6 or P5 with 8 bits. Throws Mistake.
Photo read_photo(const std::string& path);
// Grey of colours, or three times grey.
Photo with_channels(const Photo& photo, int64_t channels);
// Resizes the shorter side to side / crop_fraction (bicubic, antialiased) and crops the centre.
Photo fitted(const Photo& photo, int64_t side, double crop_fraction);

}  // namespace spk::command
