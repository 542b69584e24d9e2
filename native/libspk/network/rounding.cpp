#include "network/rounding.hpp"

#include <algorithm>
#include <cmath>

namespace spk {
namespace {

constexpr int kBitsOfFloat = 24;
constexpr float kRounding = float(1 << 23);

bool is_whole(double value) {
    constexpr double kAlwaysWhole = double(int64_t(1) << 52);
    return std::abs(value) >= kAlwaysWhole || double(int64_t(value)) == value;
}

// Whether float32 computes gain * X + offset without error for every X up to a magnitude: all
// intermediate results lie on one grid, on which they are integers below 2^24.
bool is_exact(double gain, double offset, int64_t magnitude) {
    int exponent;
    std::frexp(gain * double(magnitude) + std::abs(offset) + 1, &exponent);
    const double grid = std::ldexp(1.0, exponent - kBitsOfFloat);
    return is_whole(gain / grid) && is_whole(offset / grid);
}

// Both rise with the current, so they agree everywhere if they agree on both sides of each
// threshold.
bool agrees(const int64_t* thresholds, int32_t levels, float gain, float offset) {
    const auto rounded = [&](int64_t current) {
        const float product = float(current) * gain;
        const float within = std::min(std::max(product + offset, 0.0f), float(levels));
        // Above 2^23 there are whole numbers alone, to the nearest of which the sum is rounded.
        return int32_t((within + kRounding) - kRounding);
    };
    for (int32_t level = 0; level < levels; ++level) {
        const int64_t threshold = thresholds[level];
        const bool first = level == 0 || thresholds[level - 1] != threshold;
        const bool last = level + 1 == levels || thresholds[level + 1] != threshold;
        if (first && rounded(threshold - 1) != level) return false;
        if (last && rounded(threshold) != level + 1) return false;
    }
    return true;
}

}  // namespace

const char* find_fault(const Neuron& neuron, const Rounding& form, int64_t magnitude) {
    const size_t rows = neuron.thresholds.size() / size_t(neuron.levels);
    if (form.gain.size() != rows || form.offset.size() != rows)
        return "rounding is for other channels than thresholds";
    for (size_t c = 0; c < rows; ++c)
        if (!(form.gain[c] > 0) || !std::isfinite(form.gain[c]) || !std::isfinite(form.offset[c]))
            return "rounding has a gain that is not positive or a value not finite";
    for (size_t c = 0; c < rows; ++c)
        if (!is_exact(form.gain[c], form.offset[c], magnitude))
            return "float32 does not compute its rounding without error";
    for (size_t c = 0; c < rows; ++c)
        if (!agrees(neuron.thresholds.data() + c * size_t(neuron.levels), neuron.levels,
                    form.gain[c], form.offset[c]))
            return "rounding and thresholds differ";
    return nullptr;
}

}  // namespace spk
