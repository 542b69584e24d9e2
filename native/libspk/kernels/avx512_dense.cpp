#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/avx512.hpp"
#include "kernels/avx512_finish.hpp"
#include "kernels/avx512_products.hpp"
#include "kernels/dense_tiles.hpp"

namespace spk::avx512 {
namespace {

// Measured on Emerald Rapids: products per microsecond, and what an output costs beyond them.
constexpr double kProductsPerMicrosecond = 340e3;
constexpr double kMicrosecondsPerOutput = 0.25e-3;

class Dense final : public SynapseKernel {
public:
    explicit Dense(const Convolution& convolution)
        : shape_(convolution), inputs_(convolution),
          quads_((inputs_.length() + kQuad - 1) / kQuad),
          blocks_((convolution.outputs + kBlock - 1) / kBlock),
          block_bytes_(int64_t(inputs_.runs()) * quads_ * kQuadBytes),
          weight_(size_t(blocks_ * block_bytes_)),
          correction_(correction_of_zero(convolution, kBlock)) {
        shape_.weight = nullptr;
        pack(convolution);
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const std::vector<int64_t> offsets = inputs_.offsets(from);
        share_dense(
            shape_, from, blocks_, weight_.bytes(), kPixels, threads,
            [&](const DensePart& part) { run_part(from, epilogue, offsets, part); });
    }

    double cost(double nonzero) const override { return cost_of_dense(shape_, nonzero); }

    size_t bytes() const override { return weight_.bytes() + correction_.bytes(); }

private:
    // As [block of outputs][run][quad][output][input of the quad].
    void pack(const Convolution& convolution) {
        std::vector<int8_t> row(size_t(quads_) * kQuad);
        for (int32_t output = 0; output < convolution.outputs; ++output) {
            int8_t* to = weight_.data() + output / kBlock * block_bytes_ + output % kBlock * kQuad;
            for (int32_t run = 0; run < inputs_.runs(); ++run) {
                inputs_.row(convolution, output, run, row.data());
                for (int32_t quad = 0; quad < quads_; ++quad, to += kQuadBytes) {
                    std::memcpy(to, row.data() + quad * kQuad, kQuad);
                }
            }
        }
    }

    void run_part(
        const CountMap& from, const Epilogue& epilogue, const std::vector<int64_t>& offsets,
        const DensePart& part) const {
        Finisher finisher(epilogue);
        DenseTiles tiles(shape_, from, part, kPixels);
        while (tiles.next()) {
            for (int32_t block = part.first_block; block < part.last_block; block += kBlocks) {
                const int32_t blocks = std::min(kBlocks, part.last_block - block);
                run_blocks(block, blocks, tiles, offsets.data(), finisher);
            }
        }
    }

    void run_blocks(
        int32_t block, int32_t blocks, const DenseTiles& tiles, const int64_t* offsets,
        Finisher& finisher) const {
        int64_t first = 0;
        const auto run = [&](auto pixels) {
            for (; first + pixels() <= tiles.count(); first += pixels()) {
                run_pixels<pixels()>(block, blocks, tiles, first, offsets, finisher);
            }
        };
        run(std::integral_constant<int, kPixels>{});
        run(std::integral_constant<int, kPixels / 2>{});
        run(std::integral_constant<int, kPixels / 4>{});
        run(std::integral_constant<int, 1>{});
    }

    template <int kGroup>
    void run_pixels(
        int32_t block, int32_t blocks, const DenseTiles& tiles, int64_t first,
        const int64_t* offsets, Finisher& finisher) const {
        alignas(64) int32_t sums[kBlocks * kGroup * kBlock];
        const Weights weights = {
            weight_.data() + block * block_bytes_, block_bytes_, inputs_.runs(), quads_};
        sum_products(
            weights, blocks, kGroup, tiles.from() + first, offsets,
            correction_.data() + block * kBlock, sums);
        for (int32_t j = 0; j < blocks; ++j) {
            finisher.finish(
                tiles.places() + first, kGroup, (block + j) * kBlock, sums + j * kGroup * kBlock);
        }
    }

    Convolution shape_;
    const DenseInputs inputs_;
    const int32_t quads_, blocks_;  // quads of a run
    const int64_t block_bytes_;
    const AlignedArray<int8_t> weight_;
    const AlignedArray<int32_t> correction_;
};

}  // namespace

double cost_of_dense(const Convolution& convolution, double) {
    if (convolution.groups != 1) return -1;
    const double outputs = double(convolution.images) * convolution.height * convolution.width *
                           round_up(convolution.outputs, kBlock);
    const double products = outputs * convolution.side * convolution.side *
                            round_up(convolution.inputs, kQuad);
    return products / kProductsPerMicrosecond + outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_dense(const Convolution& convolution) {
    if (convolution.groups != 1) return nullptr;
    return std::make_unique<Dense>(convolution);
}

}  // namespace spk::avx512
