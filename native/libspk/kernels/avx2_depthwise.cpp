#include <algorithm>

#include "engine/aligned.hpp"
#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_products.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3.
constexpr double kProductsPerMicrosecond = 60e3;
constexpr double kMicrosecondsPerOutput = 0.3e-3;

constexpr int kPixels = 6;  // neighbours in a row, whose sums fill the registers
constexpr int32_t kTasksPerThread = 4;
constexpr int32_t kPairBytes = 2 * kCountLanes;  // weights of two rows for 32 channels

// Where a few neighbouring pixels begin.
struct Window {
    const uint8_t* from;
    int64_t row_bytes;
    Place place;  // of the first
};

// Each channel by itself. Two rows of the kernel at a time: a product instruction multiplies and
// adds their counts, and each column of counts serves all pixels whose kernels cover it.
class Depthwise final : public SynapseKernel {
public:
    Depthwise(const Convolution& convolution, bool widens)
        : shape_(convolution), widens_(widens), row_pairs_((convolution.side + 1) / 2),
          groups_(round_up(convolution.outputs, kCountLanes) / kCountLanes),
          weight_(size_t(groups_) * row_pairs_ * convolution.side * kPairBytes) {
        shape_.weight = nullptr;
        const int32_t side = convolution.side;
        for (int32_t channel = 0; channel < convolution.outputs; ++channel) {
            // Unpacking takes channels 0..7 and 16..23 first, then 8..15 and 24..31.
            const int32_t lane = channel % kCountLanes;
            const int32_t half = lane / 8 % 2, of_half = lane / 16 * 8 + lane % 8;
            for (int32_t tap = 0; tap < side * side; ++tap) {
                const int32_t y = tap / side, x = tap % side;
                const size_t pair = (size_t(channel / kCountLanes) * row_pairs_ + y / 2) * side + x;
                weight_[pair * kPairBytes + half * kCountLanes + of_half * 2 + y % 2] =
                    convolution.weight[channel * side * side + tap];
            }
        }
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const int64_t rows = int64_t(shape_.images) * shape_.height;
        const int64_t parts = std::min<int64_t>(
            rows, threads.count() == 1 ? 1 : threads.count() * kTasksPerThread);
        threads.run(parts, [&](int64_t task, int) {
            Finisher finisher(epilogue);
            for (int64_t row = rows * task / parts; row < rows * (task + 1) / parts; ++row) {
                if (shape_.stride == 1) {
                    run_row<1>(from, row, finisher);
                } else {
                    run_row<2>(from, row, finisher);
                }
            }
        });
    }

    double cost(double nonzero) const override { return cost_of_depthwise(shape_, nonzero); }

    size_t bytes() const override { return weight_.bytes(); }

private:
    template <int kStride>
    void run_row(const CountMap& from, int64_t row, Finisher& finisher) const {
        switch (shape_.side) {
            case 3: return run_columns<3, kStride>(from, row, finisher);
            case 5: return run_columns<5, kStride>(from, row, finisher);
            default: return run_columns<7, kStride>(from, row, finisher);
        }
    }

    template <int kSide, int kStride>
    void run_columns(const CountMap& from, int64_t row, Finisher& finisher) const {
        Place place = place_of(row * shape_.width, shape_.height, shape_.width);
        while (place.x < shape_.width) {
            const int32_t left = shape_.width - place.x;
            const uint8_t* first = from.pixel(
                place.image, int64_t(place.y) * kStride - shape_.padding,
                int64_t(place.x) * kStride - shape_.padding);
            const Window window = {first, from.row_bytes(), place};
            const int32_t count = left >= kPixels ? kPixels : left >= 2 ? 2 : 1;
            for (int32_t group = 0; group < groups_; ++group) {
                switch (count) {
                    case kPixels:
                        run_pixels<kSide, kStride, kPixels>(from, window, group, finisher);
                        break;
                    case 2: run_pixels<kSide, kStride, 2>(from, window, group, finisher); break;
                    default: run_pixels<kSide, kStride, 1>(from, window, group, finisher); break;
                }
            }
            place.x += count;
            place.index += count;
        }
    }

    template <int kSide, int kStride, int kCount>
    void run_pixels(
        const CountMap& from, const Window& window, int32_t group, Finisher& finisher) const {
        constexpr int kColumns = (kCount - 1) * kStride + kSide;
        __m256i sums[kCount][2];
        __m256i wide[2][kCount][2];  // of channels 0..15 and 16..31
        for (int i = 0; i < kCount; ++i) {
            sums[i][0] = sums[i][1] = _mm256_setzero_si256();
            for (int part = 0; part < 4; ++part) {
                wide[part / 2][i][part % 2] = _mm256_setzero_si256();
            }
        }
        const int8_t* weight =
            weight_.data() + size_t(group) * row_pairs_ * kSide * kPairBytes;
        const uint8_t* upper = window.from + int64_t(group) * kCountLanes;
        for (int32_t pair = 0; pair < row_pairs_; ++pair) {
            // The last row of an odd kernel stands beside itself, with weights of zero.
            const uint8_t* lower = 2 * pair + 1 < kSide ? upper + window.row_bytes : upper;
#pragma GCC unroll 20
            for (int column = 0; column < kColumns; ++column) {
                const __m256i one = load_bytes(upper + column * int64_t(from.stride));
                const __m256i two = load_bytes(lower + column * int64_t(from.stride));
                const __m256i low = _mm256_unpacklo_epi8(one, two);
                const __m256i high = _mm256_unpackhi_epi8(one, two);
#pragma GCC unroll 8
                for (int i = 0; i < kCount; ++i) {
                    const int x = column - i * kStride;
                    if (x < 0 || x >= kSide) continue;
                    const int8_t* of_tap = weight + x * kPairBytes;
                    sums[i][0] = _mm256_add_epi16(
                        sums[i][0], _mm256_maddubs_epi16(low, load_bytes(of_tap)));
                    sums[i][1] = _mm256_add_epi16(
                        sums[i][1], _mm256_maddubs_epi16(high, load_bytes(of_tap + kCountLanes)));
                }
            }
            weight += kSide * kPairBytes;
            upper += 2 * window.row_bytes;
            if (!widens_ && pair + 1 < row_pairs_) continue;
            for (int i = 0; i < kCount; ++i) widen(sums[i], wide[0][i], wide[1][i]);
        }
        Place places[kCount];
        for (int i = 0; i < kCount; ++i) {
            places[i] = window.place;
            places[i].x += i;
            places[i].index += i;
        }
        const int32_t channel = group * kCountLanes;
        finisher.finish<kCount>(places, channel, wide[0]);
        if (channel + kCurrentLanes < shape_.outputs) {
            finisher.finish<kCount>(places, channel + kCurrentLanes, wide[1]);
        }
    }

    // Adds sums in 16 bits to those in 32, which are in the order of channels.
    static void widen(__m256i* sums, __m256i* lower, __m256i* upper) {
        for (int half = 0; half < 2; ++half) {
            const __m256i first = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums[half]));
            const __m256i second = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums[half], 1));
            lower[half] = _mm256_add_epi32(lower[half], first);
            upper[half] = _mm256_add_epi32(upper[half], second);
            sums[half] = _mm256_setzero_si256();
        }
    }

    Convolution shape_;
    const bool widens_;  // after each two rows
    const int32_t row_pairs_, groups_;
    const AlignedArray<int8_t> weight_;
};

bool serves(const Convolution& convolution) {
    const int32_t side = convolution.side;
    return convolution.groups == convolution.inputs &&
           convolution.outputs == convolution.inputs && convolution.zero == 0 &&
           (side == 3 || side == 5 || side == 7) && convolution.stride <= 2;
}

// Whether sums over this many rows at a time stay in 16 bits.
bool sums_fit(const Convolution& convolution, int32_t rows) {
    const int32_t side = convolution.side;
    for (int32_t row = 0; row < convolution.outputs * side; ++row) {
        const int32_t first = row % side;
        if (first % rows) continue;
        int32_t up = 0, down = 0;
        for (int32_t tap = 0; tap < std::min(rows, side - first) * side; ++tap) {
            const int32_t product = convolution.weight[row * side + tap] * convolution.highest;
            up += std::max(product, 0);
            down -= std::min(product, 0);
        }
        if (up > INT16_MAX || down > INT16_MAX) return false;
    }
    return true;
}

}  // namespace

double cost_of_depthwise(const Convolution& convolution, double) {
    if (!serves(convolution)) return -1;
    const double outputs = double(convolution.images) * convolution.height * convolution.width *
                           round_up(convolution.outputs, kCountLanes);
    return outputs * convolution.side * convolution.side / kProductsPerMicrosecond +
           outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_depthwise(const Convolution& convolution) {
    if (!serves(convolution) || !sums_fit(convolution, 2)) return nullptr;
    return std::make_unique<Depthwise>(convolution, !sums_fit(convolution, convolution.side));
}

}  // namespace spk::avx2
