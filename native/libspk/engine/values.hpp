// What the nodes of a network give, as they lie in memory.
#pragma once

#include <cstdint>

#include "engine/maps.hpp"

namespace spk {

enum class Layout { none, counts, currents };

struct Value {
    Layout layout = Layout::none;
    CountMap counts;
    CurrentMap currents;

    int32_t channels() const { return is_counts() ? counts.channels : currents.channels; }
    int32_t images() const { return is_counts() ? counts.images : currents.images; }
    int32_t height() const { return is_counts() ? counts.height : currents.height; }
    int32_t width() const { return is_counts() ? counts.width : currents.width; }
    int64_t pixels_of_image() const { return int64_t(height()) * width(); }
    bool is_counts() const { return layout == Layout::counts; }

    // Integers of a pixel, in the order of images, rows and columns; those of counts are written
    // to `scratch`, which holds that many channels.
    const int32_t* read(int64_t pixel, int32_t* scratch) const {
        if (!is_counts()) return currents.pixel(pixel);
        const int64_t column = pixel % counts.width, row = pixel / counts.width;
        const uint8_t* from = counts.pixel(row / counts.height, row % counts.height, column);
        for (int32_t c = 0; c < counts.channels; ++c) scratch[c] = int32_t(from[c]) - counts.zero;
        return scratch;
    }
};

}  // namespace spk
