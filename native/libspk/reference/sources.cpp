// Nodes whose values come from outside: the image, embeddings and positions.
#include <algorithm>
#include <cmath>

#include "reference/nodes.hpp"

namespace spk::reference {

void quantise(const Input& node, const float* frame, Value& result) {
    const float grid = std::ldexp(1.0f, node.shift);
    for (size_t i = 0; i < result.data.size(); i++) {
        // Half to even, as the processor's rounding mode is.
        const float rounded = std::nearbyint(frame[i] * grid);
        result.data[i] = int64_t(std::clamp(rounded, float(node.low), float(node.high)));
    }
}

void embed(const Embedding& node, Value& result) {
    for (int64_t sample = 0; sample < result.batch; sample++)
        std::copy(node.value.begin(), node.value.end(), result.plane(sample, 0));
}

namespace {

// Sine of even and cosine of odd places; angles run to 2 pi over the axis (DETR).
double position_of(int64_t place, int64_t features, int64_t step, int64_t steps) {
    const double exponent = double(place / 2 * 2) / double(features);
    const double frequency = std::pow(10000.0, exponent);
    const double angle =
        double(step + 1) / (double(steps) + 1e-6) * (2 * 3.14159265358979323846) / frequency;
    return place % 2 ? std::cos(angle) : std::sin(angle);
}

}  // namespace

void place(const Position& node, Value& result) {
    const int64_t features = node.channels / 2;
    const auto [height, width] = std::pair(result.shape.height, result.shape.width);
    const double grid = std::ldexp(1.0, node.shift);
    for (int64_t channel = 0; channel < node.channels; channel++) {
        const bool of_rows = channel < features;
        int64_t* to = result.plane(0, channel);
        for (int64_t step = 0; step < (of_rows ? height : width); step++) {
            const double position = position_of(
                of_rows ? channel : channel - features, features, step, of_rows ? height : width);
            const int64_t rounded = int64_t(std::nearbyint(position * grid));
            for (int64_t other = 0; other < (of_rows ? width : height); other++)
                to[of_rows ? step * width + other : other * width + step] = rounded;
        }
    }
    for (int64_t sample = 1; sample < result.batch; sample++)
        std::copy_n(result.plane(0, 0), result.shape.elements(), result.plane(sample, 0));
}

}  // namespace spk::reference
