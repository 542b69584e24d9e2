#include <algorithm>

#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_products.hpp"
#include "kernels/dense_tiles.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3: products per microsecond, and what an output costs beyond them.
constexpr double kProductsPerMicrosecond = 155e3;
constexpr double kMicrosecondsPerOutput = 0.4e-3;

constexpr int kPixels = 6;  // whose sums fill the registers

class Dense final : public SynapseKernel {
public:
    explicit Dense(const Convolution& convolution)
        : shape_(convolution), inputs_(convolution),
          correction_(correction_of_zero(convolution, kBlock)) {
        shape_.weight = nullptr;
        const auto row = [&](int32_t output, int32_t run, int8_t* to) {
            inputs_.row(convolution, output, run, to);
        };
        const int32_t highest = convolution.highest + convolution.zero;
        weights_ = PackedWeights(
            convolution.outputs, inputs_.runs(), inputs_.length(), highest, row);
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const std::vector<int64_t> offsets = inputs_.offsets(from);
        share_dense(
            shape_, from, weights_.blocks(), weights_.bytes(), kPixels, threads,
            [&](const DensePart& part) { run_part(from, epilogue, offsets, part); });
    }

    double cost(double nonzero) const override { return cost_of_dense(shape_, nonzero); }

    size_t bytes() const override { return weights_.bytes() + correction_.bytes(); }

private:
    void run_part(
        const CountMap& from, const Epilogue& epilogue, const std::vector<int64_t>& offsets,
        const DensePart& part) const {
        Finisher finisher(epilogue);
        DenseTiles tiles(shape_, from, part, kPixels);
        while (tiles.next()) {
            for (int32_t block = part.first_block; block < part.last_block; ++block) {
                run_block(block, tiles, offsets.data(), finisher);
            }
        }
    }

    void run_block(
        int32_t block, const DenseTiles& tiles, const int64_t* offsets, Finisher& finisher) const {
        for (int64_t first = 0; first < tiles.count();) {
            const int64_t left = tiles.count() - first;
            // 7 and 8 pixels are two equal groups rather than a full and a small one.
            const int64_t group = left == 7 || left == 8 ? 4 : std::min<int64_t>(left, kPixels);
            const uint8_t* const* from = tiles.from() + first;
            const Place* places = tiles.places() + first;
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
    const DenseInputs inputs_;
    const AlignedArray<int32_t> correction_;
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
    const double rate = kProductsPerMicrosecond / (convolution.zero ? 3 : 1);
    return products / rate + outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_dense(const Convolution& convolution) {
    if (convolution.groups != 1) return nullptr;
    return std::make_unique<Dense>(convolution);
}

}  // namespace spk::avx2
