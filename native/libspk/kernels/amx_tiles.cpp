#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/amx.hpp"
#include "kernels/amx_products.hpp"
#include "kernels/avx512_finish.hpp"
#include "kernels/dense_tiles.hpp"

namespace spk::amx {
namespace {

// Measured on Emerald Rapids: products per microsecond, and what an output costs beyond them.
constexpr double kProductsPerMicrosecond = 1200e3;
constexpr double kMicrosecondsPerOutput = 0.2e-3;

constexpr int32_t kGroup = kTiles * kPixels;

class Tiles final : public SynapseKernel {
public:
    explicit Tiles(const Convolution& convolution)
        : shape_(convolution), inputs_(convolution),
          depth_tiles_((inputs_.length() + kDepth - 1) / kDepth),
          blocks_((convolution.outputs + kBlock - 1) / kBlock),
          pixel_bytes_(int64_t(inputs_.runs()) * depth_tiles_ * kDepth),
          weight_(size_t(blocks_ * pixel_bytes_ * kBlock)) {
        shape_.weight = nullptr;
        pack(convolution);
        for (int32_t run = 0; run < inputs_.runs(); ++run) {
            gathered_.push_back(int64_t(run) * depth_tiles_ * kDepth);
        }
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const std::vector<int64_t> offsets = inputs_.offsets(from);
        share_dense(
            shape_, from, blocks_, weight_.bytes(), kGroup, threads,
            [&](const DensePart& part) { run_part(from, epilogue, offsets, part); });
    }

    double cost(double nonzero) const override { return cost_of_tiles(shape_, nonzero); }

    size_t bytes() const override { return weight_.bytes(); }

private:
    // Rows that lie one cache line further apart than a power of two would have them.
    int64_t row_bytes() const { return pixel_bytes_ + kDepth; }

    int8_t* of_block(int32_t block) const {
        return weight_.data() + block * pixel_bytes_ * kBlock;
    }

    void pack(const Convolution& convolution) {
        std::vector<int8_t> row(size_t(depth_tiles_) * kDepth);
        for (int32_t output = 0; output < convolution.outputs; ++output) {
            int8_t* to = of_block(output / kBlock) + output % kBlock * 4;
            for (int32_t run = 0; run < inputs_.runs(); ++run) {
                inputs_.row(convolution, output, run, row.data());
                for (size_t at = 0; at < row.size(); at += 4, to += 4 * kBlock) {
                    std::memcpy(to, row.data() + at, 4);
                }
            }
        }
    }

    void run_part(
        const CountMap& from, const Epilogue& epilogue, const std::vector<int64_t>& offsets,
        const DensePart& part) const {
        avx512::Finisher finisher(epilogue);
        AlignedArray<uint8_t> gathered(size_t(kGroup * row_bytes()));
        DenseTiles tiles(shape_, from, part, kGroup);
        begin();
        while (tiles.next()) {
            for (int64_t first = 0; first < tiles.count(); first += kGroup) {
                const int64_t count = std::min<int64_t>(kGroup, tiles.count() - first);
                Inputs inputs[kTiles];
                for (int32_t tile = 0; tile * kPixels < count; ++tile) {
                    inputs[tile] = inputs_of(
                        tiles.from() + first + tile * kPixels,
                        std::min<int64_t>(kPixels, count - tile * kPixels), offsets,
                        gathered.data() + tile * kPixels * row_bytes());
                }
                run_group(part, inputs, tiles.places() + first, count, finisher);
            }
        }
        end();
    }

    // As they lie, where the pixels stand in a row; else side by side in `to`.
    Inputs inputs_of(
        const uint8_t* const* pixels, int64_t count, const std::vector<int64_t>& offsets,
        uint8_t* to) const {
        const int64_t step = pixels[count - 1] - pixels[0];
        if (count == kPixels && step == (kPixels - 1) * (pixels[1] - pixels[0])) {
            return {pixels[0], pixels[1] - pixels[0], offsets.data()};
        }
        const int64_t run_bytes = int64_t(depth_tiles_) * kDepth;
        for (int64_t i = 0; i < count; ++i) {
            uint8_t* of_pixel = to + i * row_bytes();
            for (const int64_t offset : offsets) {
                std::memcpy(of_pixel, pixels[i] + offset, run_bytes);
                of_pixel += run_bytes;
            }
        }
        return {to, row_bytes(), gathered_.data()};
    }

    void run_group(
        const DensePart& part, const Inputs* inputs, const Place* places, int64_t count,
        avx512::Finisher& finisher) const {
        alignas(64) int32_t sums[kTiles * kTiles * kSums];
        const int32_t tiles = count > kPixels ? 2 : 1;
        for (int32_t block = part.first_block; block < part.last_block; block += kTiles) {
            const int32_t blocks = std::min(kTiles, part.last_block - block);
            const Weights weights = {
                of_block(block), pixel_bytes_ * kBlock, inputs_.runs(), depth_tiles_};
            sum_products(weights, inputs, tiles, blocks, sums);
            int32_t* finished = sums;
            for (int32_t tile = 0; tile < tiles; ++tile) {
                const int32_t pixels = int32_t(std::min<int64_t>(kPixels, count - tile * kPixels));
                for (int32_t j = 0; j < blocks; ++j, finished += kSums) {
                    finisher.finish(
                        places + tile * kPixels, pixels, (block + j) * kBlock, finished);
                }
            }
        }
    }

    Convolution shape_;
    const DenseInputs inputs_;
    const int32_t depth_tiles_, blocks_;  // tiles of a run
    const int64_t pixel_bytes_;           // all inputs of a pixel
    const AlignedArray<int8_t> weight_;
    std::vector<int64_t> gathered_;  // where runs begin, side by side
};

bool serves(const Convolution& convolution) {
    return convolution.groups == 1 && !convolution.zero && convolution.inputs >= kCountLanes;
}

}  // namespace

double cost_of_tiles(const Convolution& convolution, double) {
    if (!serves(convolution)) return -1;
    const DenseInputs inputs(convolution);
    const int32_t pixels = convolution.images * convolution.height * convolution.width;
    const double outputs =
        double(round_up(pixels, kPixels)) * round_up(convolution.outputs, kBlock);
    const double depth = double(inputs.runs()) * round_up(inputs.length(), kDepth);
    return outputs * depth / kProductsPerMicrosecond + outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_tiles(const Convolution& convolution) {
    if (!serves(convolution)) return nullptr;
    return std::make_unique<Tiles>(convolution);
}

}  // namespace spk::amx
