#include <algorithm>
#include <cstring>

#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_products.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3: products per microsecond, and what an output costs beyond them.
constexpr double kProductsPerMicrosecond = 105e3;
constexpr double kMicrosecondsPerOutput = 0.33e-3;

constexpr int kPixels = 6;                  // whose sums fill the registers
constexpr int64_t kTileBytes = 160 * 1024;      // of inputs that stay in the second cache
constexpr int32_t kTasksPerThread = 4;

class Dense final : public SynapseKernel {
public:
    explicit Dense(const Convolution& convolution)
        : shape_(convolution), joins_rows_(convolution.inputs % kCountLanes == 0),
          runs_(convolution.side * (joins_rows_ ? 1 : convolution.side)),
          correction_(round_up(convolution.outputs, kBlock)) {
        shape_.weight = nullptr;
        const int32_t side = convolution.side, inputs = convolution.inputs;
        const int32_t taps_of_run = joins_rows_ ? side : 1;
        const auto row = [&](int32_t output, int32_t run, int8_t* to) {
            const int8_t* from = convolution.weight + int64_t(output) * inputs * side * side;
            if (side == 1) {
                std::memcpy(to, from, inputs);
                return;
            }
            for (int32_t tap = 0; tap < taps_of_run; ++tap) {
                const int8_t* of_tap = from + run * taps_of_run + tap;
                for (int32_t input = 0; input < inputs; ++input) {
                    *to++ = of_tap[int64_t(input) * side * side];
                }
            }
        };
        const int32_t highest = convolution.highest + convolution.zero;
        weights_ = PackedWeights(
            convolution.outputs, runs_, taps_of_run * inputs, highest, row);
        subtract_zero(convolution);
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        std::vector<int64_t> offsets;
        for (int32_t run = 0; run < runs_; ++run) {
            const int32_t y = joins_rows_ ? run : run / shape_.side;
            const int32_t x = joins_rows_ ? 0 : run % shape_.side;
            offsets.push_back(y * from.row_bytes() + int64_t(x) * from.stride);
        }
        const int64_t pixels = int64_t(shape_.images) * shape_.height * shape_.width;
        const int32_t blocks = weights_.blocks();
        const int64_t tasks = threads.count() == 1 ? 1 : threads.count() * kTasksPerThread;
        // Threads share what is larger: inputs or weights.
        const bool by_output =
            size_t(pixels) * from.stride < weights_.bytes() && blocks >= threads.count();
        if (by_output) {
            const int64_t parts = std::min<int64_t>(tasks, blocks);
            threads.run(parts, [&](int64_t task, int) {
                run_part(from, epilogue, offsets, int32_t(blocks * task / parts),
                         int32_t(blocks * (task + 1) / parts), 0, pixels);
            });
            return;
        }
        const int64_t groups = (pixels + kPixels - 1) / kPixels;
        const int64_t parts = std::min(tasks, groups);
        threads.run(parts, [&](int64_t task, int) {
            run_part(from, epilogue, offsets, 0, blocks, groups * task / parts * kPixels,
                     std::min(pixels, groups * (task + 1) / parts * kPixels));
        });
    }

    double cost(double nonzero) const override { return cost_of_dense(shape_, nonzero); }

    size_t bytes() const override { return weights_.bytes() + correction_.bytes(); }

private:
    struct Tile {
        std::vector<Place> places;
        std::vector<const uint8_t*> from;
    };

    void subtract_zero(const Convolution& convolution) {
        if (!convolution.zero) return;
        const int64_t count =
            int64_t(convolution.inputs) * convolution.side * convolution.side;
        for (int32_t output = 0; output < convolution.outputs; ++output) {
            int32_t sum = 0;
            for (int64_t i = 0; i < count; ++i) sum += convolution.weight[output * count + i];
            correction_[output] = -sum * convolution.zero;
        }
    }

    void run_part(
        const CountMap& from, const Epilogue& epilogue, const std::vector<int64_t>& offsets,
        int32_t first_block, int32_t last_block, int64_t first, int64_t last) const {
        Finisher finisher(epilogue);
        const int64_t input_bytes = int64_t(from.stride) * shape_.stride * shape_.stride;
        const int64_t tile =
            std::max<int64_t>(2 * kPixels, kTileBytes / input_bytes / kPixels * kPixels);
        Tile pixels;
        pixels.places.resize(size_t(std::min(tile, last - first)));
        pixels.from.resize(pixels.places.size());
        Place place = place_of(first, shape_.height, shape_.width);
        while (place.index < last) {
            const int64_t count = std::min(tile, last - place.index);
            for (int64_t i = 0; i < count; ++i) {
                pixels.places[i] = place;
                pixels.from[i] = from.pixel(
                    place.image, int64_t(place.y) * shape_.stride - shape_.padding,
                    int64_t(place.x) * shape_.stride - shape_.padding);
                advance(place, shape_.height, shape_.width);
            }
            for (int32_t block = first_block; block < last_block; ++block) {
                run_block(block, pixels, count, offsets.data(), finisher);
            }
        }
    }

    void run_block(
        int32_t block, const Tile& tile, int64_t count, const int64_t* offsets,
        Finisher& finisher) const {
        for (int64_t first = 0; first < count;) {
            const int64_t left = count - first;
            // 7 and 8 pixels are two equal groups rather than a full and a small one.
            const int64_t group = left == 7 || left == 8 ? 4 : std::min<int64_t>(left, kPixels);
            const uint8_t* const* from = tile.from.data() + first;
            const Place* places = tile.places.data() + first;
            switch (group) {
                case 6: run_pixels<6>(block, from, places, offsets, finisher); break;
                case 5: run_pixels<5>(block, from, places, offsets, finisher); break;
                case 4: run_pixels<4>(block, from, places, offsets, finisher); break;
                case 3: run_pixels<3>(block, from, places, offsets, finisher); break;
                case 2: run_pixels<2>(block, from, places, offsets, finisher); break;
                default: run_pixels<1>(block, from, places, offsets, finisher); break;
            }
            first += group;
        }
    }

    template <int kCount>
    void run_pixels(
        int32_t block, const uint8_t* const* from, const Place* places, const int64_t* offsets,
        Finisher& finisher) const {
        const int32_t channel = block * kBlock;
        __m256i sums[kCount][2];
        for (int i = 0; i < kCount; ++i) {
            sums[i][0] = load(correction_.data() + channel);
            sums[i][1] = load(correction_.data() + channel + 8);
        }
        add_products<kCount>(weights_, block, from, offsets, sums);
        finisher.finish<kCount>(places, channel, sums);
    }

    Convolution shape_;
    const bool joins_rows_;  // the taps of a row lie side by side
    const int32_t runs_;
    const AlignedArray<int32_t> correction_;  // for a zero that is not 0
    PackedWeights weights_;
};

}  // namespace

double cost_of_dense(const Convolution& convolution, double) {
    if (convolution.groups != 1) return -1;
    const double outputs = double(convolution.images) * convolution.height * convolution.width *
                           round_up(convolution.outputs, kBlock);
    const double products = outputs * convolution.side * convolution.side *
                            round_up(convolution.inputs, kQuad);
    // Pairs of the image fill 16 bits, so that each is widened.
    const double rate = kProductsPerMicrosecond / (convolution.zero ? 2 : 1);
    return products / rate + outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_dense(const Convolution& convolution) {
    if (convolution.groups != 1) return nullptr;
    return std::make_unique<Dense>(convolution);
}

}  // namespace spk::avx2
