#include <algorithm>

#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_lists.hpp"
#include "kernels/avx2_products.hpp"

namespace spk::avx2 {
namespace {

// Measured on AMD Zen 3: products per microsecond of counts that are not zero, the share that is
// spent on each pixel whatever its counts, and what lists and outputs cost.
constexpr double kProductsPerMicrosecond = 55e3;
constexpr double kShareWithoutCounts = 0.04;
constexpr double kMicrosecondsPerInput = 0.4e-3;
constexpr double kMicrosecondsPerOutput = 0.5e-3;

constexpr int32_t kVector = 32;     // outputs whose weights lie in a vector
constexpr int32_t kMostVectors = 4;  // whose sums fill the registers
constexpr int32_t kTile = 28;       // pixels that read a slab of weights while it is in the cache
constexpr int32_t kTasksPerThread = 4;
constexpr int32_t kSegmentOfMatrices = 256, kSegmentOfKernels = 128, kLeastSegment = 32;
constexpr int32_t kIndices = 1 << 16;

// Which output a byte of a vector of weights belongs to: unpacking two of them leaves the first
// sixteen in one vector and the others in the next.
int32_t output_of_byte(int32_t byte) {
    return byte < 8 || byte >= 24 ? byte : byte < 16 ? byte + 8 : byte - 8;
}

// Weights of the rows of a kernel and of segments of inputs. A unit is a row and a segment; within
// it sums stay in 16 bits, whatever the inputs, and between units for as long as that is proved.
struct Slabs {
    int32_t segment, segments, vectors, blocks;
    AlignedArray<int8_t> weight;  // [block][unit][column][channel of segment][output]
    std::vector<char> widens;     // [block][unit]: after it

    int32_t width() const { return vectors * kVector; }
};

// Sums that each output of a block can reach, upwards and downwards.
struct Bounds {
    std::vector<int32_t> up, down;

    explicit Bounds(int32_t outputs) : up(outputs), down(outputs) {}

    void add(const Bounds& other) {
        for (size_t i = 0; i < up.size(); ++i) {
            up[i] += other.up[i];
            down[i] += other.down[i];
        }
    }
    bool fit() const {
        return *std::max_element(up.begin(), up.end()) <= INT16_MAX &&
               *std::max_element(down.begin(), down.end()) <= INT16_MAX;
    }
};

// Few blocks, and none that is mostly padding.
int32_t choose_vectors(int32_t outputs) {
    int32_t best = 1;
    int32_t least = INT32_MAX;
    for (int32_t vectors = 1; vectors <= kMostVectors; ++vectors) {
        const int32_t width = vectors * kVector;
        const int32_t cost = (outputs + width - 1) / width * (3 * vectors + 2);
        if (cost < least) {
            least = cost;
            best = vectors;
        }
    }
    return best;
}

// Writes a unit's weights and returns what its sums can reach.
Bounds pack_unit(const Convolution& shape, const Slabs& slabs, int32_t block, int32_t row,
                 int32_t part, int8_t* to) {
    const int32_t side = shape.side, width = slabs.width();
    const int32_t first = part * slabs.segment;
    const int32_t last = std::min(shape.inputs, first + slabs.segment);
    Bounds bounds(width);
    for (int32_t byte = 0; byte < width; ++byte) {
        const int32_t output =
            block * width + byte / kVector * kVector + output_of_byte(byte % kVector);
        if (output >= shape.outputs) continue;
        const int8_t* from = shape.weight + (int64_t(output) * shape.inputs * side + row) * side;
        for (int32_t input = first; input < last; ++input) {
            for (int32_t column = 0; column < side; ++column) {
                const int8_t weight = from[int64_t(input) * side * side + column];
                to[(int64_t(column) * slabs.segment + input - first) * width + byte] = weight;
                (weight > 0 ? bounds.up : bounds.down)[byte] += std::abs(weight) * shape.highest;
            }
        }
    }
    return bounds;
}

// False where sums of a unit could leave 16 bits.
bool pack(const Convolution& shape, int32_t segment, Slabs& slabs) {
    slabs.segment = segment;
    slabs.segments = (shape.inputs + segment - 1) / segment;
    slabs.vectors = choose_vectors(shape.outputs);
    slabs.blocks = (shape.outputs + slabs.width() - 1) / slabs.width();
    const int64_t slab = int64_t(shape.side) * segment * slabs.width();
    const int32_t units = shape.side * slabs.segments;
    slabs.weight = AlignedArray<int8_t>(size_t(slab * units * slabs.blocks));
    slabs.widens.assign(size_t(units) * slabs.blocks, false);
    int8_t* to = slabs.weight.data();
    for (int32_t block = 0; block < slabs.blocks; ++block) {
        Bounds reached(slabs.width());
        char* widens = slabs.widens.data() + int64_t(block) * units;
        for (int32_t unit = 0; unit < units; ++unit, to += slab) {
            const Bounds bounds =
                pack_unit(shape, slabs, block, unit / slabs.segments, unit % slabs.segments, to);
            if (!bounds.fit()) return false;
            reached.add(bounds);
            if (reached.fit()) continue;
            widens[unit - 1] = true;
            reached = bounds;
        }
        widens[units - 1] = true;
    }
    return true;
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
        lists.build(from, shape_.padding, slabs_.segment, threads);
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

    double cost(double nonzero) const override {
        const double pixels = double(shape_.images) * shape_.height * shape_.width;
        const double outputs = pixels * shape_.outputs;
        const double inputs = pixels * shape_.stride * shape_.stride * shape_.inputs;
        const double products = outputs * shape_.side * shape_.side * shape_.inputs;
        return products * (nonzero + kShareWithoutCounts) / kProductsPerMicrosecond +
               inputs * kMicrosecondsPerInput + outputs * kMicrosecondsPerOutput;
    }

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
        const int64_t slab = int64_t(shape_.side) * slabs_.segment * kWidth;
        const int32_t units = shape_.side * slabs_.segments;
        const int8_t* weight = slabs_.weight.data() + block * units * slab;
        const char* widens = slabs_.widens.data() + int64_t(block) * units;
        for (int32_t unit = 0; unit < units; ++unit, weight += slab) {
            const int32_t of_kernel = unit / slabs_.segments, part = unit % slabs_.segments;
            for (int32_t i = 0; i < count; ++i) {
                const Place& place = places[i];
                const int32_t y = place.y * shape_.stride - shape_.padding + of_kernel;
                if (y >= 0 && y < height) {
                    const int32_t column = place.x * shape_.stride;
                    const NonzeroRun run =
                        lists.run(int64_t(place.image) * height + y, part, column, shape_.side);
                    add_run<kVectors>(
                        run, weight - int64_t(column) * slabs_.segment * kWidth, sums[i]);
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

std::unique_ptr<SynapseKernel> make_sparse(const Convolution& convolution) {
    // Any two counts of a unit may become a pair.
    const bool pairs_fit = 2 * 128 * convolution.highest <= 1 << 15;
    if (convolution.groups != 1 || convolution.zero || !pairs_fit) return nullptr;
    const int64_t columns = int64_t(convolution.width) * convolution.stride +
                            convolution.side + 2 * convolution.padding;
    const int32_t most = convolution.side == 1 ? kSegmentOfMatrices : kSegmentOfKernels;
    int32_t segment = std::min(most, round_up(convolution.inputs, kCountLanes));
    for (; segment >= kLeastSegment; segment = segment / 2 / kCountLanes * kCountLanes) {
        Slabs slabs;
        if (columns * segment <= kIndices && pack(convolution, segment, slabs)) {
            return std::make_unique<Sparse>(convolution, std::move(slabs));
        }
    }
    return nullptr;
}

}  // namespace spk::avx2
