// Weights in the order in which portable loops add them: outputs lie side by side.
#pragma once

#include <cstdint>
#include <vector>

namespace spk {

class PortableWeights {
public:
    // [outputs][inputs / groups][side][side]
    PortableWeights(
        const int8_t* weight, int32_t outputs, int32_t inputs, int32_t side, int32_t groups)
        : outputs_(outputs), inputs_(inputs), groups_(groups) {
        const int32_t taps = side * side, of_group = inputs / groups, to_group = outputs / groups;
        weights_.resize(size_t(outputs) * size_t(of_group) * size_t(taps));
        int8_t* to = weights_.data();
        for (int32_t tap = 0; tap < taps; ++tap) {
            for (int32_t group = 0; group < groups; ++group) {
                for (int32_t input = 0; input < of_group; ++input) {
                    for (int32_t output = group * to_group; output < (group + 1) * to_group;
                         ++output) {
                        *to++ = weight[(int64_t(output) * of_group + input) * taps + tap];
                    }
                }
            }
        }
    }

    // Adds the products of one pixel [inputs], less `zero`, under one tap of the kernel to the
    // sums [outputs].
    template <typename Element>
    void add(int32_t tap, const Element* pixel, int32_t zero, int32_t* sums) const {
        const int32_t of_group = inputs_ / groups_, to_group = outputs_ / groups_;
        const int8_t* weight = weights_.data() + int64_t(tap) * of_group * outputs_;
        if (of_group == 1 && to_group == 1) {
            for (int32_t c = 0; c < outputs_; ++c) sums[c] += (int32_t(pixel[c]) - zero) * weight[c];
            return;
        }
        for (int32_t group = 0; group < groups_; ++group, sums += to_group) {
            for (int32_t input = 0; input < of_group; ++input, weight += to_group) {
                const int32_t x = int32_t(*pixel++) - zero;
                if (x == 0) continue;
                for (int32_t output = 0; output < to_group; ++output) {
                    sums[output] += x * weight[output];
                }
            }
        }
    }

    size_t bytes() const { return weights_.size(); }

private:
    int32_t outputs_, inputs_, groups_;
    std::vector<int8_t> weights_;  // [side * side][groups][inputs of group][outputs of group]
};

}  // namespace spk
