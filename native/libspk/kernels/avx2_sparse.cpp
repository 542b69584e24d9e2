#include <algorithm>

#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_lists.hpp"
#include "kernels/avx2_products.hpp"
#include "kernels/avx2_slabs.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3: products per microsecond of counts that are not zero, the share that is
// spent on each pixel whatever its counts, and what lists and outputs cost.
constexpr double kProductsPerMicrosecond = 85e3;
constexpr double kShareWithoutCounts = 0.03;
constexpr double kMicrosecondsPerInput = 0.32e-3;
constexpr double kMicrosecondsPerOutput = 0.55e-3;

constexpr int32_t kTile = 28;       // pixels that read a slab of weights while it is in the cache
constexpr int32_t kTasksPerThread = 4;
constexpr int32_t kSegmentOfMatrices = 256, kSegmentOfKernels = 128, kLeastSegment = 32;
constexpr int32_t kIndices = 1 << 16;

int64_t columns_of(const Convolution& convolution) {
    return int64_t(convolution.width) * convolution.stride + convolution.side +
           2 * convolution.padding;
}

bool serves(const Convolution& convolution) {
    // Any two counts of a unit may become a pair.
    const bool pairs_fit = 2 * 128 * convolution.highest <= 1 << 15;
    const int64_t columns = columns_of(convolution);
    return convolution.groups == 1 && convolution.zero == 0 && pairs_fit &&
           columns * kLeastSegment <= kIndices;
}

// Counts that are not zero alone: their rows of weights are read two at a time, multiplied and
// added in 16 bits.
class Sparse final : public SynapseKernel {
public:
    Sparse(const Convolution& convolution, Slabs slabs)
        : shape_(convolution), slabs_(std::move(slabs)) {
        shape_.weight = nullptr;
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        // One layer runs at a time, so that all of a thread's share one memory.
        static thread_local NonzeroLists shared_lists;
        NonzeroLists& lists = shared_lists;
        lists.build(from, shape_.padding, slabs_.piece.segment, threads);
        const int64_t pixels = int64_t(shape_.images) * shape_.height * shape_.width;
        const int64_t tiles = (pixels + kTile - 1) / kTile;
        const int64_t tasks = threads.count() == 1 ? 1 : threads.count() * kTasksPerThread;
        const bool by_output = tiles < tasks && slabs_.blocks > tiles;
        const int64_t parts = std::min<int64_t>(tasks, by_output ? slabs_.blocks : tiles);
        threads.run(parts, [&](int64_t task, int) {
            Finisher finisher(epilogue);
            const auto part = [&](int64_t whole) {
                return std::pair(whole * task / parts, whole * (task + 1) / parts);
            };
            const auto [first_block, last_block] =
                by_output ? part(slabs_.blocks) : std::pair<int64_t, int64_t>(0, slabs_.blocks);
            const auto [first_tile, last_tile] =
                by_output ? std::pair<int64_t, int64_t>(0, tiles) : part(tiles);
            for (int64_t tile = first_tile; tile < last_tile; ++tile) {
                Place places[kTile];
                const int64_t first = tile * kTile;
                const int32_t count = int32_t(std::min<int64_t>(kTile, pixels - first));
                Place place = place_of(first, shape_.height, shape_.width);
                for (int32_t i = 0; i < count; ++i) {
                    places[i] = place;
                    advance(place, shape_.height, shape_.width);
                }
                for (int64_t block = first_block; block < last_block; ++block) {
                    run_block(lists, from.height, int32_t(block), places, count, finisher);
                }
            }
        });
    }

    double cost(double nonzero) const override { return cost_of_sparse(shape_, nonzero); }

    size_t bytes() const override { return slabs_.weight.bytes(); }

private:
    void run_block(const NonzeroLists& lists, int32_t height, int32_t block, const Place* places,
                   int32_t count, Finisher& finisher) const {
        switch (slabs_.vectors) {
            case 1: return run_tile<1>(lists, height, block, places, count, finisher);
            case 2: return run_tile<2>(lists, height, block, places, count, finisher);
            case 3: return run_tile<3>(lists, height, block, places, count, finisher);
            default: return run_tile<4>(lists, height, block, places, count, finisher);
        }
    }

    template <int kVectors>
    void run_tile(const NonzeroLists& lists, int32_t height, int32_t block, const Place* places,
                  int32_t count, Finisher& finisher) const {
        constexpr int kWidth = kVectors * kVector;
        __m256i sums[kTile][2 * kVectors];
        __m256i wide[2 * kVectors][kTile][2];
        for (int32_t i = 0; i < count; ++i) {
            for (int j = 0; j < 2 * kVectors; ++j) {
                sums[i][j] = wide[j][i][0] = wide[j][i][1] = _mm256_setzero_si256();
            }
        }
        const auto [columns, segment] = slabs_.piece;
        const int64_t slab = slabs_.piece.size() * kWidth;
        const int8_t* weight = slabs_.weight.data() + block * slabs_.units * slab;
        const char* widens = slabs_.widens.data() + int64_t(block) * slabs_.units;
        for (int32_t unit = 0; unit < slabs_.units; ++unit, weight += slab) {
            const int32_t of_kernel = slabs_.row_of(unit), part = slabs_.segment_of(unit);
            const int32_t of_row = slabs_.column_of(unit);
            for (int32_t i = 0; i < count; ++i) {
                const Place& place = places[i];
                const int32_t y = place.y * shape_.stride - shape_.padding + of_kernel;
                if (y >= 0 && y < height) {
                    const int32_t column = place.x * shape_.stride + of_row;
                    const NonzeroRun run =
                        lists.run(int64_t(place.image) * height + y, part, column, columns);
                    add_run<kVectors>(run, weight - int64_t(column) * segment * kWidth, sums[i]);
                }
                if (!widens[unit]) continue;
                for (int j = 0; j < 2 * kVectors; ++j) {
                    const __m128i low = _mm256_castsi256_si128(sums[i][j]);
                    const __m128i high = _mm256_extracti128_si256(sums[i][j], 1);
                    __m256i* to = wide[j][i];
                    to[0] = _mm256_add_epi32(to[0], _mm256_cvtepi16_epi32(low));
                    to[1] = _mm256_add_epi32(to[1], _mm256_cvtepi16_epi32(high));
                    sums[i][j] = _mm256_setzero_si256();
                }
            }
        }
        for (int j = 0; j < 2 * kVectors; ++j) {
            const int32_t channel = block * kWidth + j * kCurrentLanes;
            if (channel >= shape_.outputs) break;
            int32_t i = 0;
            for (; i + 4 <= count; i += 4) finisher.finish<4>(places + i, channel, wide[j] + i);
            for (; i < count; ++i) finisher.finish<1>(places + i, channel, wide[j] + i);
        }
    }

    // Weight: of column 0 of the lists.
    template <int kVectors>
    static void add_run(const NonzeroRun& run, const int8_t* weight, __m256i* to) {
        constexpr int kWidth = kVectors * kVector;
        __m256i sums[2 * kVectors];
        for (int j = 0; j < 2 * kVectors; ++j) sums[j] = to[j];
        const auto add = [&](const int8_t* first, const int8_t* second, __m256i counts) {
#pragma GCC unroll 8
            for (int j = 0; j < kVectors; ++j) {
                const __m256i one = load_bytes(first + j * kVector);
                const __m256i two = load_bytes(second + j * kVector);
                const __m256i low = _mm256_unpacklo_epi8(one, two);
                const __m256i high = _mm256_unpackhi_epi8(one, two);
                sums[2 * j] = _mm256_add_epi16(sums[2 * j], _mm256_maddubs_epi16(counts, low));
                sums[2 * j + 1] =
                    _mm256_add_epi16(sums[2 * j + 1], _mm256_maddubs_epi16(counts, high));
            }
        };
        int64_t i = 0;
        for (; i + 2 <= run.size; i += 2) {
            int16_t counts;
            __builtin_memcpy(&counts, run.count + i, sizeof counts);
            add(weight + int64_t(run.index[i]) * kWidth,
                weight + int64_t(run.index[i + 1]) * kWidth, _mm256_set1_epi16(counts));
        }
        if (i < run.size) {
            const int8_t* last = weight + int64_t(run.index[i]) * kWidth;
            add(last, last, _mm256_set1_epi16(run.count[i]));
        }
        for (int j = 0; j < 2 * kVectors; ++j) to[j] = sums[j];
    }

    Convolution shape_;
    const Slabs slabs_;
};

}  // namespace

double cost_of_sparse(const Convolution& convolution, double nonzero) {
    if (!serves(convolution)) return -1;
    const int32_t vectors = choose_vectors(convolution.outputs);
    const double slowdown = (3 + 2.0 / vectors) / (3 + 2.0 / kMostVectors);
    const double pixels =
        double(convolution.images) * convolution.height * convolution.width;
    const double outputs = pixels * round_up(convolution.outputs, vectors * kVector);
    const double inputs =
        pixels * convolution.stride * convolution.stride * convolution.inputs;
    const double products =
        outputs * convolution.side * convolution.side * convolution.inputs;
    return products * (nonzero + kShareWithoutCounts) * slowdown / kProductsPerMicrosecond +
           inputs * kMicrosecondsPerInput + outputs * kMicrosecondsPerOutput;
}

std::unique_ptr<SynapseKernel> make_sparse(const Convolution& convolution) {
    if (!serves(convolution)) return nullptr;
    const int32_t side = convolution.side;
    const int32_t most = side == 1 ? kSegmentOfMatrices : kSegmentOfKernels;
    // Large pieces first: where sums of whole rows of the kernel do not fit, those of a column may.
    for (const int32_t columns : {side, 1}) {
        int32_t segment = std::min(most, round_up(convolution.inputs, kCountLanes));
        for (; segment >= kLeastSegment; segment = segment / 2 / kCountLanes * kCountLanes) {
            Slabs slabs;
            const bool has_indices = columns_of(convolution) * segment <= kIndices;
            if (has_indices && pack_slabs(convolution, {columns, segment}, slabs)) {
                return std::make_unique<Sparse>(convolution, std::move(slabs));
            }
        }
        if (side == 1) break;
    }
    return nullptr;
}

}  // namespace spk::avx2
