// Membranes and thresholds.
#include <algorithm>

#include "reference/nodes.hpp"

namespace spk::reference {

namespace {

// Currents have 32 bits and are shifted by at most 31, so no potential is as large.
constexpr int64_t kOutOfReach = int64_t(1) << 62;

// A threshold of so many pixels, where it can still be reached or missed.
int64_t threshold_of(int64_t of_one, int64_t pixels) {
    if (of_one > kOutOfReach / pixels) return kOutOfReach;
    if (of_one < -kOutOfReach / pixels) return -kOutOfReach;
    return of_one * pixels;
}

int64_t leaked(const Leak& leak, int64_t membrane) {
    switch (leak.kind) {
        case LeakKind::none: return 0;
        case LeakKind::all: return membrane;
        case LeakKind::share: return shifted_right(membrane, leak.shift);
        case LeakKind::rest: return membrane - shifted_right(membrane, leak.shift);
    }
    return 0;
}

}  // namespace

void fire(const Neuron& node, const Value& current, int64_t pixels, std::vector<int64_t>& membrane,
          Value& result) {
    const int64_t rows = int64_t(node.thresholds.size()) / node.levels;
    std::vector<int64_t> thresholds(size_t(node.levels));
    for (int64_t channel = 0; channel < result.shape.channels; channel++) {
        const int64_t* own = node.thresholds.data() + (rows == 1 ? 0 : channel) * node.levels;
        std::transform(own, own + node.levels, thresholds.begin(),
                       [&](int64_t of_one) { return threshold_of(of_one, pixels); });
        const int64_t bias = of_channel(node.bias, channel) * pixels;
        for (int64_t sample = 0; sample < result.batch; sample++) {
            const int64_t* from = current.plane(sample, channel);
            int64_t* to = result.plane(sample, channel);
            int64_t* kept = membrane.empty() ? nullptr : membrane.data() + (to - &result.data[0]);
            for (int64_t i = 0; i < result.shape.pixels(); i++) {
                const int64_t rest = kept ? leaked(node.leak, kept[i]) : 0;
                const int64_t potential = rest + shifted_left(from[i], node.shift) + bias;
                const auto above =
                    std::upper_bound(thresholds.begin(), thresholds.end(), potential);
                const int64_t count = above - thresholds.begin();
                to[i] = count;
                if (!kept) continue;
                if (node.resets_hard) {
                    kept[i] = count > 0 ? 0 : potential;
                } else {
                    kept[i] = potential - count * of_channel(node.step, channel) * pixels;
                }
            }
        }
    }
}

}  // namespace spk::reference
