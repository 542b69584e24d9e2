#include <algorithm>
#include <array>

#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_products.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3: products per microsecond, and what an output and an input cost beyond.
constexpr double kProductsPerMicrosecond = 105e3;
constexpr double kMicrosecondsPerOutput = 1.1e-3;
constexpr double kMicrosecondsPerInput = 0.15e-3;

constexpr int kPositions = 16;  // of a transformed tile of four by four
constexpr int kTiles = 6;       // whose sums fill the registers
constexpr int32_t kGroup = 24;  // tiles that are transformed at a time
constexpr int32_t kTasksPerThread = 4;
constexpr int kSumOfSums = 5;   // the only position without differences

// Rows of the transform of a column of weights, doubled so that they are integers; and of that of
// products.
constexpr int kOfWeights[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
constexpr int kOfProducts[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};

// Winograd's F(2x2, 3x3) in integers: four times each output from 16 products instead of 36
// (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). Transformed weights
// must fit 8 bits. Transformed inputs lie in -2D..2D or 0..4D; the first get 2D added, which a
// constant per output takes away again.
class Winograd final : public SynapseKernel {
public:
    // [position][output][input]
    using Transformed = AlignedArray<int8_t>;

    Winograd(const Convolution& convolution, const Transformed& transformed)
        : shape_(convolution), offset_(2 * convolution.highest),
          correction_(size_t(4) * round_up(convolution.outputs, kBlock)) {
        shape_.weight = nullptr;
        const int64_t inputs = convolution.inputs, outputs = convolution.outputs;
        for (int position = 0; position < kPositions; ++position) {
            const auto row = [&](int32_t output, int32_t, int8_t* to) {
                const int8_t* from = transformed.data() + (position * outputs + output) * inputs;
                std::copy_n(from, inputs, to);
                if (position == kSumOfSums) return;
                int32_t sum = 0;
                for (int64_t input = 0; input < inputs; ++input) sum += from[input];
                for (int pixel = 0; pixel < 4; ++pixel) {
                    const int sign = kOfProducts[pixel / 2][position / 4] *
                                     kOfProducts[pixel % 2][position % 4];
                    correction_[size_t(output / kBlock * 4 + pixel) * kBlock + output % kBlock] -=
                        sign * offset_ * sum;
                }
            };
            weights_[position] = PackedWeights(
                convolution.outputs, 1, convolution.inputs, 4 * convolution.highest, row);
        }
        const size_t scratch =
            size_t(kPositions) * kGroup * round_up(convolution.inputs, kCountLanes);
        for (int32_t thread = 0; thread < convolution.threads; ++thread) {
            scratch_.emplace_back(scratch);
        }
    }

    // Nothing where a weight does not fit.
    static Transformed transform(const Convolution& convolution) {
        const int64_t inputs = convolution.inputs, outputs = convolution.outputs;
        Transformed transformed(size_t(kPositions * outputs * inputs));
        for (int64_t pair = 0; pair < outputs * inputs; ++pair) {
            const int8_t* weight = convolution.weight + pair * 9;
            int columns[4][3];
            for (int i = 0; i < 4; ++i) {
                for (int x = 0; x < 3; ++x) {
                    const int* factor = kOfWeights[i];
                    columns[i][x] = factor[0] * weight[x] + factor[1] * weight[3 + x] +
                                    factor[2] * weight[6 + x];
                }
            }
            for (int position = 0; position < kPositions; ++position) {
                const int* row = columns[position / 4];
                const int* factor = kOfWeights[position % 4];
                const int sum = factor[0] * row[0] + factor[1] * row[1] + factor[2] * row[2];
                if (sum < INT8_MIN || sum > INT8_MAX) return {};
                transformed[size_t(position * outputs * inputs + pair)] = int8_t(sum);
            }
        }
        return transformed;
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const int64_t tiles = int64_t(shape_.images) * shape_.height * shape_.width / 4;
        const int64_t groups = (tiles + kTiles - 1) / kTiles;
        const int64_t parts = std::min<int64_t>(
            groups, threads.count() == 1 ? 1 : threads.count() * kTasksPerThread);
        threads.run(parts, [&](int64_t task, int thread) {
            Finisher finisher(epilogue);
            const int64_t last = std::min(tiles, groups * (task + 1) / parts * kTiles);
            for (int64_t tile = groups * task / parts * kTiles; tile < last; tile += kGroup) {
                const int32_t count = int32_t(std::min<int64_t>(kGroup, last - tile));
                run_group(from, tile, count, scratch_[thread].data(), finisher);
            }
        });
    }

    double cost(double nonzero) const override { return cost_of_winograd(shape_, nonzero); }

    size_t bytes() const override {
        size_t bytes = correction_.bytes();
        for (const PackedWeights& weights : weights_) bytes += weights.bytes();
        return bytes;
    }

private:
    void run_group(const CountMap& from, int64_t first, int32_t count, uint8_t* transformed,
                   Finisher& finisher) const {
        Place places[kGroup];  // among tiles
        Place place = place_of(first, shape_.height / 2, shape_.width / 2);
        for (int32_t i = 0; i < count; ++i) {
            places[i] = place;
            const uint8_t* pixel = from.pixel(
                place.image, 2 * place.y - shape_.padding, 2 * place.x - shape_.padding);
            transform_tile(from, pixel, transformed + int64_t(i) * from.stride);
            advance(place, shape_.height / 2, shape_.width / 2);
        }
        for (int32_t block = 0; block < weights_[0].blocks(); ++block) {
            int32_t i = 0;
            const auto run = [&](auto tiles) {
                for (; i + tiles() <= count; i += tiles()) {
                    multiply<tiles()>(block, transformed + int64_t(i) * from.stride, from.stride,
                                      places + i, finisher);
                }
            };
            run(std::integral_constant<int, kTiles>());
            run(std::integral_constant<int, 4>());
            run(std::integral_constant<int, 1>());
        }
    }

    // Four by four inputs of all channels.
    void transform_tile(const CountMap& from, const uint8_t* pixel, uint8_t* to) const {
        const __m256i offset = _mm256_set1_epi8(char(offset_));
        const auto combine = [](const __m256i* column, int64_t step, __m256i* combined) {
            combined[0] = _mm256_sub_epi8(column[0], column[2 * step]);
            combined[1] = _mm256_add_epi8(column[step], column[2 * step]);
            combined[2] = _mm256_sub_epi8(column[2 * step], column[step]);
            combined[3] = _mm256_sub_epi8(column[step], column[3 * step]);
        };
        for (int32_t channel = 0; channel < from.stride; channel += kCountLanes) {
            __m256i counts[4][4], rows[4][4], tile[kPositions];
            for (int i = 0; i < 16; ++i) {
                counts[i / 4][i % 4] = load_bytes(
                    pixel + channel + i / 4 * from.row_bytes() + i % 4 * int64_t(from.stride));
            }
            for (int x = 0; x < 4; ++x) {
                combine(&counts[0][x], 4, rows[x]);  // [column][row of the transform]
            }
            for (int y = 0; y < 4; ++y) combine(&rows[0][y], 4, tile + 4 * y);
            for (int position = 0; position < kPositions; ++position) {
                const __m256i value = position == kSumOfSums
                                          ? tile[position]
                                          : _mm256_add_epi8(tile[position], offset);
                uint8_t* place = to + position * int64_t(kGroup) * from.stride + channel;
                _mm256_store_si256(reinterpret_cast<__m256i*>(place), value);
            }
        }
    }

    template <int kCount>
    void multiply(int32_t block, const uint8_t* transformed, int64_t stride, const Place* places,
                  Finisher& finisher) const {
        __m256i products[kPositions][kCount][2];
        const int64_t offset = 0;
        for (int position = 0; position < kPositions; ++position) {
            const uint8_t* pixels[kCount];
            for (int i = 0; i < kCount; ++i) {
                pixels[i] = transformed + (position * int64_t(kGroup) + i) * stride;
                products[position][i][0] = products[position][i][1] = _mm256_setzero_si256();
            }
            add_products<kCount>(weights_[position], block, pixels, &offset, products[position]);
        }
        for (int i = 0; i < kCount; ++i) {
            __m256i sums[4][2];
            for (int half = 0; half < 2; ++half) {
                __m256i rows[2][4];
                for (int x = 0; x < 4; ++x) {
                    const __m256i one = products[x][i][half], two = products[4 + x][i][half];
                    const __m256i three = products[8 + x][i][half];
                    const __m256i four = products[12 + x][i][half];
                    rows[0][x] = _mm256_add_epi32(_mm256_add_epi32(one, two), three);
                    rows[1][x] = _mm256_sub_epi32(_mm256_sub_epi32(two, three), four);
                }
                for (int pixel = 0; pixel < 4; ++pixel) {
                    const __m256i* row = rows[pixel / 2];
                    const __m256i sum =
                        pixel % 2
                            ? _mm256_sub_epi32(_mm256_sub_epi32(row[1], row[2]), row[3])
                            : _mm256_add_epi32(_mm256_add_epi32(row[0], row[1]), row[2]);
                    const int32_t* correction =
                        correction_.data() + (int64_t(block) * 4 + pixel) * kBlock + 8 * half;
                    sums[pixel][half] =
                        _mm256_srai_epi32(_mm256_add_epi32(sum, load(correction)), 2);
                }
            }
            Place pixels[4];
            for (int pixel = 0; pixel < 4; ++pixel) {
                const Place& tile = places[i];
                const int32_t y = 2 * tile.y + pixel / 2, x = 2 * tile.x + pixel % 2;
                const int64_t row = int64_t(tile.image) * shape_.height + y;
                pixels[pixel] = {row * shape_.width + x, tile.image, y, x};
            }
            finisher.finish<4>(pixels, block * kBlock, sums);
        }
    }

    Convolution shape_;
    const int32_t offset_;
    const AlignedArray<int32_t> correction_;  // [block][pixel][output of block]
    std::array<PackedWeights, kPositions> weights_;
    std::vector<AlignedArray<uint8_t>> scratch_;  // per thread: [position][tile][input]
};

// 32 bits must hold four times the outputs and what the offset adds to them.
bool sums_fit(const Convolution& convolution) {
    const int64_t most = int64_t(convolution.inputs) * INT8_MAX * 4 * convolution.highest;
    return most * kPositions <= INT32_MAX;
}

bool serves(const Convolution& convolution) {
    return convolution.side == 3 && convolution.stride == 1 && convolution.groups == 1 &&
           convolution.zero == 0 && convolution.height % 2 == 0 && convolution.width % 2 == 0 &&
           4 * convolution.highest <= UINT8_MAX && sums_fit(convolution);
}

}  // namespace

double cost_of_winograd(const Convolution& convolution, double) {
    if (!serves(convolution)) return -1;
    const double pixels =
        double(convolution.images) * convolution.height * convolution.width;
    const double outputs = pixels * round_up(convolution.outputs, kBlock);
    const double inputs = pixels * round_up(convolution.inputs, kCountLanes);
    const double products = outputs * convolution.inputs * (kPositions / 4.0);
    return products / kProductsPerMicrosecond + outputs * kMicrosecondsPerOutput +
           inputs * kMicrosecondsPerInput;
}

std::unique_ptr<SynapseKernel> make_winograd(const Convolution& convolution) {
    if (!serves(convolution)) return nullptr;
    const Winograd::Transformed transformed = Winograd::transform(convolution);
    if (!transformed.size()) return nullptr;
    return std::make_unique<Winograd>(convolution, transformed);
}

}  // namespace spk::avx2
