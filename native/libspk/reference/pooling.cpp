// Sums of two values, sums over pixels, maxima over windows.
#include <algorithm>

#include "reference/nodes.hpp"

namespace spk::reference {

void add(const Value& first, const Value& second, Value& result) {
    const auto seen_from = [&](const Value& value, int64_t sample, int64_t channel, int64_t pixel) {
        // One embedding may be added to every pixel.
        return value.plane(sample, channel)[value.shape.pixels() == 1 ? 0 : pixel];
    };
    for (int64_t sample = 0; sample < result.batch; sample++)
        for (int64_t channel = 0; channel < result.shape.channels; channel++)
            for (int64_t pixel = 0; pixel < result.shape.pixels(); pixel++)
                result.plane(sample, channel)[pixel] =
                    seen_from(first, sample, channel, pixel) +
                    seen_from(second, sample, channel, pixel);
}

void pool(const Value& source, Value& result) {
    for (int64_t sample = 0; sample < result.batch; sample++)
        for (int64_t channel = 0; channel < result.shape.channels; channel++)
            for (int64_t pixel = 0; pixel < source.shape.pixels(); pixel++)
                *result.plane(sample, channel) += source.plane(sample, channel)[pixel];
}

void take_maxima(const MaxPool& node, const Value& source, Value& result) {
    const auto [height, width] = std::pair(source.shape.height, source.shape.width);
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t channel = 0; channel < result.shape.channels; channel++) {
            const int64_t* from = source.plane(sample, channel);
            int64_t* to = result.plane(sample, channel);
            for (int64_t y = 0; y < result.shape.height; y++) {
                for (int64_t x = 0; x < result.shape.width; x++) {
                    const int64_t top = y * node.stride - node.padding;
                    const int64_t left = x * node.stride - node.padding;
                    int64_t most = INT64_MIN;
                    for (int64_t row = std::max<int64_t>(top, 0);
                         row < std::min(top + node.kernel, height); row++)
                        for (int64_t column = std::max<int64_t>(left, 0);
                             column < std::min(left + node.kernel, width); column++)
                            most = std::max(most, from[row * width + column]);
                    to[y * result.shape.width + x] = most;
                }
            }
        }
    }
}

}  // namespace spk::reference
