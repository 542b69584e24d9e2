#include "kernels/avx2_slabs.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

namespace spk::avx2 {
namespace {

constexpr int32_t kTransposed = 16;  // rows and columns that are transposed at a time

// Which output a byte of a vector of weights belongs to: unpacking two of them leaves the first
// sixteen in one vector and the others in the next.
int32_t output_of_byte(int32_t byte) {
    return byte < 8 || byte >= 24 ? byte : byte < 16 ? byte + 8 : byte - 8;
}

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

int32_t sum_of(__m256i sums) {
    const __m128i half =
        _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return _mm_cvtsi128_si32(half) + _mm_extract_epi32(half, 2);
}

// Sums of the positive weights and of the negative ones; size is a multiple of 32.
void add_up(const int8_t* weights, int32_t size, int32_t& positive, int32_t& negative) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i up = zero, down = zero;
    for (int32_t i = 0; i < size; i += kVector) {
        const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + i));
        up = _mm256_add_epi64(up, _mm256_sad_epu8(_mm256_max_epi8(some, zero), zero));
        const __m256i below = _mm256_abs_epi8(_mm256_min_epi8(some, zero));
        down = _mm256_add_epi64(down, _mm256_sad_epu8(below, zero));
    }
    positive = sum_of(up);
    negative = sum_of(down);
}

// Sixteen rows of sixteen bytes become columns.
void transpose(const int8_t* from, int64_t row_bytes, int8_t* to, int64_t to_bytes) {
    __m128i rows[kTransposed], turned[kTransposed];
    for (int i = 0; i < kTransposed; ++i) {
        rows[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * row_bytes));
    }
    // Each round interleaves rows that are eight apart; after four, bytes are columns.
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < 8; ++i) {
            turned[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
            turned[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
        }
        std::copy_n(turned, kTransposed, rows);
    }
    for (int i = 0; i < kTransposed; ++i) {
        _mm_store_si128(reinterpret_cast<__m128i*>(to + i * to_bytes), rows[i]);
    }
}

// Writes units of one size, and what their sums can reach.
class Packer {
public:
    Packer(const Convolution& shape, const Slabs& slabs)
        : shape_(shape), slabs_(slabs), row_bytes_(slabs.piece.size()),
          rows_(size_t(kVector) * row_bytes_) {}

    Bounds pack(int32_t block, int32_t unit, int8_t* to) {
        const int32_t width = slabs_.width();
        Bounds bounds(width);
        for (int32_t vector = 0; vector < width; vector += kVector) {
            for (int32_t byte = 0; byte < kVector; ++byte) {
                int8_t* row = rows_.data() + byte * row_bytes_;
                read(block * width + vector + output_of_byte(byte), unit, row);
                int32_t &up = bounds.up[vector + byte], &down = bounds.down[vector + byte];
                add_up(row, int32_t(row_bytes_), up, down);
                up *= shape_.highest;
                down *= shape_.highest;
            }
            for (int64_t channel = 0; channel < row_bytes_; channel += kTransposed) {
                for (int32_t byte = 0; byte < kVector; byte += kTransposed) {
                    transpose(rows_.data() + byte * row_bytes_ + channel, row_bytes_,
                              to + channel * width + vector + byte, width);
                }
            }
        }
        return bounds;
    }

private:
    // An output's weights [column][channel of segment], zero where there are none.
    void read(int32_t output, int32_t unit, int8_t* row) const {
        const auto [columns, segment] = slabs_.piece;
        const int32_t side = shape_.side, first = slabs_.segment_of(unit) * segment;
        const int32_t count = std::min(shape_.inputs - first, segment);
        if (output >= shape_.outputs) {
            std::memset(row, 0, size_t(row_bytes_));
            return;
        }
        if (count < segment) std::memset(row, 0, size_t(row_bytes_));
        const int64_t start =
            (int64_t(output) * shape_.inputs + first) * side + slabs_.row_of(unit);
        const int8_t* from = shape_.weight + start * side + slabs_.column_of(unit);
        if (side == 1) {
            std::memcpy(row, from, size_t(count));
            return;
        }
        for (int32_t column = 0; column < columns; ++column, row += segment) {
            for (int32_t input = 0; input < count; ++input) {
                row[input] = from[int64_t(input) * side * side + column];
            }
        }
    }

    const Convolution& shape_;
    const Slabs& slabs_;
    const int64_t row_bytes_;
    const AlignedArray<int8_t> rows_;
};

}  // namespace

int32_t choose_vectors(int32_t outputs) {
    int32_t best = 1, least = INT32_MAX;
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

bool pack_slabs(const Convolution& shape, Piece piece, Slabs& slabs) {
    slabs.piece = piece;
    slabs.segments = (shape.inputs + piece.segment - 1) / piece.segment;
    slabs.strips = shape.side / piece.columns;
    slabs.vectors = choose_vectors(shape.outputs);
    slabs.blocks = (shape.outputs + slabs.width() - 1) / slabs.width();
    slabs.units = shape.side * slabs.segments * slabs.strips;
    const int64_t slab = piece.size() * slabs.width();
    slabs.weight = AlignedArray<int8_t>(size_t(slab * slabs.units * slabs.blocks));
    slabs.widens.assign(size_t(slabs.units) * slabs.blocks, false);
    Packer packer(shape, slabs);
    int8_t* to = slabs.weight.data();
    for (int32_t block = 0; block < slabs.blocks; ++block) {
        Bounds reached(slabs.width());
        char* widens = slabs.widens.data() + int64_t(block) * slabs.units;
        for (int32_t unit = 0; unit < slabs.units; ++unit, to += slab) {
            const Bounds bounds = packer.pack(block, unit, to);
            if (!bounds.fit()) return false;
            reached.add(bounds);
            if (reached.fit()) continue;
            widens[unit - 1] = true;
            reached = bounds;
        }
        widens[slabs.units - 1] = true;
    }
    return true;
}

}  // namespace spk::avx2
