// The pixels of a map, one after the other.
#pragma once

#include <cstdint>

#include "engine/maps.hpp"

namespace spk {

struct Place {
    int64_t index;  // among all pixels of all images
    int32_t image, y, x;
};

inline Place place_of(int64_t index, int32_t height, int32_t width) {
    const int64_t row = index / width;
    return {index, int32_t(row / height), int32_t(row % height), int32_t(index % width)};
}

inline void advance(Place& place, int32_t height, int32_t width) {
    ++place.index;
    if (++place.x < width) return;
    place.x = 0;
    if (++place.y < height) return;
    place.y = 0;
    ++place.image;
}

}  // namespace spk
