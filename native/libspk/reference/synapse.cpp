// Convolutions and matrices.
#include "reference/nodes.hpp"

namespace spk::reference {

namespace {

// Adds one weight times a plane, moved by the kernel's offset and seen at its stride.
void accumulate(const Synapse& node, int64_t weight, int64_t row, int64_t column,
                const int64_t* from, const Shape& shape, int64_t* to, const Shape& result) {
    for (int64_t y = 0; y < result.height; y++) {
        const int64_t from_y = y * node.stride + row - node.padding;
        if (from_y < 0 || from_y >= shape.height) continue;
        for (int64_t x = 0; x < result.width; x++) {
            const int64_t from_x = x * node.stride + column - node.padding;
            if (from_x < 0 || from_x >= shape.width) continue;
            to[y * result.width + x] += weight * from[from_y * shape.width + from_x];
        }
    }
}

}  // namespace

void weigh(const Synapse& node, const std::vector<int8_t>& weight, const Value& source,
           Value& result) {
    const int64_t side = node.is_linear() ? 1 : node.side;
    const int64_t outputs_of_group = node.outputs / node.groups;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t output = 0; output < node.outputs; output++) {
            const int64_t first = output / outputs_of_group * node.inputs_of_group;
            const int8_t* weights = weight.data() + output * node.weights_per_output();
            int64_t* to = result.plane(sample, output);
            for (int64_t input = 0; input < node.inputs_of_group; input++) {
                for (int64_t row = 0; row < side; row++) {
                    for (int64_t column = 0; column < side; column++) {
                        accumulate(node, weights[(input * side + row) * side + column], row,
                                   column, source.plane(sample, first + input), source.shape, to,
                                   result.shape);
                    }
                }
            }
            const int32_t shift = node.shift[size_t(output)];
            for (int64_t i = 0; i < result.shape.pixels(); i++) {
                const int64_t moved = shift > 0 ? shifted_left(to[i], shift) : to[i];
                const int64_t total = moved + node.bias[size_t(output)];
                to[i] = shift < 0 ? shifted_right(total, -shift) : total;
            }
        }
    }
}

}  // namespace spk::reference
