// Values between pixels: at twice the size, and at displaced points of a kernel.
#include <algorithm>

#include "reference/nodes.hpp"

namespace spk::reference {

namespace {

// The pixel that a new one lies in along an axis, and its neighbour on the other side.
struct Nearest {
    int64_t own, other;
};

Nearest nearest(int64_t place, int64_t size) {
    const int64_t own = place / 2;
    const int64_t other = place % 2 ? own + 1 : own - 1;
    return {own, std::clamp<int64_t>(other, 0, size - 1)};
}

// (sum of weight * pixel) / 4^bits at a position in 2^-bits pixels, half up; zero outside.
int64_t between(const int64_t* plane, const Shape& shape, int64_t y, int64_t x, int32_t bits) {
    const int64_t top = shifted_right(y, bits), left = shifted_right(x, bits);
    const int64_t grid = int64_t(1) << bits;
    const int64_t lower = y - top * grid, right = x - left * grid;
    int64_t total = 0;
    for (int64_t row = 0; row < 2; row++) {
        for (int64_t column = 0; column < 2; column++) {
            const int64_t from_y = top + row, from_x = left + column;
            if (from_y < 0 || from_y >= shape.height || from_x < 0 || from_x >= shape.width)
                continue;
            const int64_t weight = (row ? lower : grid - lower) * (column ? right : grid - right);
            total += weight * plane[from_y * shape.width + from_x];
        }
    }
    return rounded_right(total, 2 * bits);
}

}  // namespace

void resize(const Value& source, Value& result) {
    if (source.data.size() == result.data.size()) {
        result.data = source.data;
        return;
    }
    const int64_t width = source.shape.width;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t channel = 0; channel < result.shape.channels; channel++) {
            const int64_t* from = source.plane(sample, channel);
            int64_t* to = result.plane(sample, channel);
            for (int64_t y = 0; y < result.shape.height; y++) {
                const Nearest row = nearest(y, source.shape.height);
                for (int64_t x = 0; x < result.shape.width; x++) {
                    const Nearest column = nearest(x, width);
                    const int64_t sixteen = 9 * from[row.own * width + column.own] +
                                            3 * from[row.own * width + column.other] +
                                            3 * from[row.other * width + column.own] +
                                            from[row.other * width + column.other];
                    to[y * result.shape.width + x] = rounded_right(sixteen, 4);
                }
            }
        }
    }
}

void sample(const Sample& node, const Value& value, const Value& offset, const Value& weight,
            Value& result) {
    const Shape& shape = value.shape;
    const int64_t points = int64_t(node.side) * node.side;
    const int64_t channels_of_group = shape.channels / node.groups;
    const int32_t bits = node.position_bits;
    const auto moved = [&](int64_t by) {
        return bits >= node.offset_shift ? shifted_left(by, bits - node.offset_shift)
                                         : rounded_right(by, node.offset_shift - bits);
    };
    for (int64_t image = 0; image < result.batch; image++) {
        for (int64_t point = 0; point < node.groups * points; point++) {
            const int64_t group = point / points;
            // Points follow one another down the columns of the kernel.
            const int64_t column = point % points / node.side - node.side / 2;
            const int64_t row = point % points % node.side - node.side / 2;
            const int64_t* across = offset.plane(image, 2 * point);
            const int64_t* down = offset.plane(image, 2 * point + 1);
            const int64_t* counts = weight.plane(image, point);
            for (int64_t pixel = 0; pixel < shape.pixels(); pixel++) {
                if (counts[pixel] == 0) continue;
                const int64_t x =
                    shifted_left(pixel % shape.width + column, bits) + moved(across[pixel]);
                const int64_t y =
                    shifted_left(pixel / shape.width + row, bits) + moved(down[pixel]);
                for (int64_t i = 0; i < channels_of_group; i++) {
                    const int64_t channel = group * channels_of_group + i;
                    result.plane(image, channel)[pixel] +=
                        counts[pixel] * between(value.plane(image, channel), shape, y, x, bits);
                }
            }
        }
    }
}

}  // namespace spk::reference
