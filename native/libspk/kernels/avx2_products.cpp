#include "kernels/avx2_products.hpp"

#include <cstring>
#include <utility>

namespace spk::avx2 {
namespace {

// Fewer quads than these per widening are not worth sums in 16 bits.
constexpr int64_t kFewestQuads = 3;

// What sums of the lanes of a quad's products can reach, upwards and downwards; saturated, so that
// INT16_MAX means "at least".
struct Reach16 {
    __m256i up[2], down[2];

    Reach16() { clear(); }
    void clear() { up[0] = up[1] = down[0] = down[1] = _mm256_setzero_si256(); }

    static Reach16 of(const int8_t* quad, __m256i highest) {
        Reach16 reach;
        for (int half = 0; half < 2; ++half) {
            const __m256i weight = load_bytes(quad + 32 * half);
            const __m256i zero = _mm256_setzero_si256();
            const __m256i positive = _mm256_max_epi8(weight, zero);
            // -128 becomes 128 as a byte without sign, which is halved and doubled again.
            const __m256i negative = _mm256_abs_epi8(_mm256_min_epi8(weight, zero));
            const __m256i low = _mm256_and_si256(negative, _mm256_set1_epi8(1));
            const __m256i halved = _mm256_and_si256(
                _mm256_srli_epi16(negative, 1), _mm256_set1_epi8(0x7F));
            const __m256i half_down = _mm256_maddubs_epi16(highest, halved);
            reach.up[half] = _mm256_maddubs_epi16(highest, positive);
            reach.down[half] = _mm256_adds_epi16(
                _mm256_adds_epi16(half_down, half_down), _mm256_maddubs_epi16(highest, low));
        }
        return reach;
    }

    void add(const Reach16& other) {
        for (int half = 0; half < 2; ++half) {
            up[half] = _mm256_adds_epi16(up[half], other.up[half]);
            down[half] = _mm256_adds_epi16(down[half], other.down[half]);
        }
    }

    bool saturates() const {
        const __m256i full = _mm256_set1_epi16(INT16_MAX);
        const __m256i most = _mm256_max_epi16(
            _mm256_max_epi16(up[0], up[1]), _mm256_max_epi16(down[0], down[1]));
        return _mm256_movemask_epi8(_mm256_cmpeq_epi16(most, full)) != 0;
    }
};

// Packs the weights of a block of outputs, quad after quad; returns whether pairs could saturate.
class Packer {
public:
    Packer(int32_t outputs, int32_t runs, int32_t length, int32_t highest,
           const PackedWeights::Row& row)
        : outputs_(outputs), runs_(runs), quads_((length + kQuad - 1) / kQuad),
          may_saturate_(2 * 128 * highest > INT16_MAX),
          highest_(_mm256_set1_epi8(char(highest))), row_(row),
          rows_(size_t(kBlock) * quads_ * kQuad), packed_(size_t(runs) * quads_ * kQuadBytes) {}

    // Appends the weights of a block, and the halves that are left of them where pairs could
    // saturate.
    std::vector<Chunk> pack(int32_t block, std::vector<int8_t>& to) {
        bool saturates = false;
        int8_t* quad_weights = packed_.data();
        for (int32_t run = 0; run < runs_; ++run) {
            read_rows(block, run);
            for (int32_t quad = 0; quad < quads_; ++quad, quad_weights += kQuadBytes) {
                for (int32_t i = 0; i < kBlock; ++i) {
                    const int8_t* from = rows_.data() + (size_t(i) * quads_ + quad) * kQuad;
                    std::memcpy(quad_weights + i * kQuad, from, kQuad);
                }
                saturates =
                    saturates || (may_saturate_ && Reach16::of(quad_weights, highest_).saturates());
            }
        }
        if (!saturates) {
            to.insert(to.end(), packed_.data(), packed_.data() + packed_.size());
            plan(packed_.data());
        } else {
            const AlignedArray<int8_t> halves(packed_.size());
            for (size_t i = 0; i < packed_.size(); ++i) {
                halves[i] = int8_t(packed_[i] / 2);
                packed_[i] = int8_t(packed_[i] - halves[i]);
            }
            for (const AlignedArray<int8_t>* part : {&halves, &std::as_const(packed_)}) {
                to.insert(to.end(), part->data(), part->data() + part->size());
                plan(part->data());
            }
        }
        chunks_.back().widens = true;
        reach_.clear();
        return std::move(chunks_);
    }

private:
    void read_rows(int32_t block, int32_t run) {
        const size_t row_bytes = size_t(quads_) * kQuad;
        for (int32_t i = 0; i < kBlock; ++i) {
            int8_t* weights = rows_.data() + i * row_bytes;
            if (block * kBlock + i < outputs_) {
                row_(block * kBlock + i, run, weights);
            } else {
                std::memset(weights, 0, row_bytes);
            }
        }
    }

    void plan(const int8_t* quad_weights) {
        for (int32_t run = 0; run < runs_; ++run) {
            chunks_.push_back({run, 0, 0, false});
            for (int32_t quad = 0; quad < quads_; ++quad, quad_weights += kQuadBytes) {
                const Reach16 of_quad = Reach16::of(quad_weights, highest_);
                reach_.add(of_quad);
                if (reach_.saturates()) {
                    if (chunks_.back().quads) {
                        chunks_.back().widens = true;
                        chunks_.push_back({run, quad, 0, false});
                    } else {
                        chunks_[chunks_.size() - 2].widens = true;
                    }
                    reach_ = of_quad;
                }
                ++chunks_.back().quads;
            }
        }
    }

    const int32_t outputs_, runs_, quads_;
    const bool may_saturate_;  // pairs of any weights
    const __m256i highest_;
    const PackedWeights::Row& row_;
    const AlignedArray<int8_t> rows_, packed_;
    std::vector<Chunk> chunks_;
    Reach16 reach_;
};

bool sums_stay_short(const std::vector<Chunk>& chunks) {
    int64_t quads = 0, widenings = 0;
    for (const Chunk& chunk : chunks) {
        quads += chunk.quads;
        widenings += chunk.widens;
    }
    return quads < kFewestQuads * widenings;
}

}  // namespace

PackedWeights::PackedWeights(
    int32_t outputs, int32_t runs, int32_t length, int32_t highest, const Row& row) {
    Packer packer(outputs, runs, length, highest, row);
    std::vector<int8_t> packed;
    for (int32_t block = 0; block * kBlock < outputs; ++block) {
        start_.push_back(packed.size());
        chunks_.push_back(packer.pack(block, packed));
        widens_always_.push_back(sums_stay_short(chunks_.back()));
    }
    weight_ = AlignedArray<int8_t>(packed.size());
    std::memcpy(weight_.data(), packed.data(), packed.size());
}

}  // namespace spk::avx2
