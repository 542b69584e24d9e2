#include "kernels/avx2_lists.hpp"

#include <immintrin.h>

#include <algorithm>
#include <array>

namespace spk::avx2 {
namespace {

constexpr int32_t kTasksPerThread = 4;
constexpr int32_t kSlack = 64;  // that whole vectors may be written beyond the end

// The places of the ones of a byte, packed into eight bytes.
constexpr std::array<uint64_t, 256> places_of_ones() {
    std::array<uint64_t, 256> places = {};
    for (uint64_t mask = 0; mask < 256; ++mask) {
        int found = 0;
        for (uint64_t bit = 0; bit < 8; ++bit) {
            if (mask >> bit & 1) places[mask] |= bit << (8 * found++);
        }
    }
    return places;
}
constexpr std::array<uint64_t, 256> kPlaces = places_of_ones();

// Appends those of the first eight counts that the mask names.
inline uint32_t append(
    __m128i counts, uint32_t mask, int32_t base, uint16_t* index, uint8_t* count) {
    const __m128i places = _mm_cvtsi64_si128(int64_t(kPlaces[mask]));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(count), _mm_shuffle_epi8(counts, places));
    const __m128i indices =
        _mm_add_epi16(_mm_cvtepu8_epi16(places), _mm_set1_epi16(int16_t(base)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(index), indices);
    return uint32_t(_mm_popcnt_u32(mask));
}

}  // namespace

void NonzeroLists::build(
    const CountMap& map, int32_t padding, int32_t segment, Threads& threads) {
    segments_ = (map.stride + segment - 1) / segment;
    columns_ = map.width + 2 * padding;
    capacity_ = int64_t(map.width) * segment + kSlack;
    const int64_t rows = int64_t(map.images) * map.height;
    const size_t lists = size_t(rows * segments_);
    if (index_.size() < lists * capacity_) {
        index_ = AlignedArray<uint16_t>(lists * capacity_);
        count_ = AlignedArray<uint8_t>(lists * capacity_);
    }
    if (offset_.size() < lists * (columns_ + 1)) {
        offset_ = AlignedArray<uint32_t>(lists * (columns_ + 1));
    }
    const int64_t parts = std::min<int64_t>(
        rows, threads.count() == 1 ? 1 : threads.count() * kTasksPerThread);
    threads.run(parts, [&](int64_t task, int) {
        for (int64_t row = rows * task / parts; row < rows * (task + 1) / parts; ++row) {
            build_row(map, row, padding, segment);
        }
    });
}

void NonzeroLists::build_row(
    const CountMap& map, int64_t row, int32_t padding, int32_t segment) {
    const __m128i zero = _mm_setzero_si128();
    const uint8_t* from = map.pixel(row / map.height, row % map.height, 0);
    for (int32_t part = 0; part < segments_; ++part) {
        const int64_t list = row * segments_ + part;
        uint16_t* index = index_.data() + list * capacity_;
        uint8_t* count = count_.data() + list * capacity_;
        uint32_t* offset = offset_.data() + list * (columns_ + 1);
        const int32_t first = part * segment, last = std::min(map.stride, first + segment);
        uint32_t size = 0;
        std::fill_n(offset, padding, 0u);
        for (int32_t x = 0; x < map.width; ++x) {
            offset[padding + x] = size;
            const uint8_t* pixel = from + int64_t(x) * map.stride;
            const int32_t base = (padding + x) * segment - first;
            for (int32_t channel = first; channel < last; channel += 16) {
                const __m128i counts =
                    _mm_load_si128(reinterpret_cast<const __m128i*>(pixel + channel));
                const uint32_t mask =
                    uint32_t(_mm_movemask_epi8(_mm_cmpeq_epi8(counts, zero))) ^ 0xFFFF;
                size += append(counts, mask & 0xFF, base + channel, index + size, count + size);
                size += append(_mm_srli_si128(counts, 8), mask >> 8, base + channel + 8,
                               index + size, count + size);
            }
        }
        std::fill_n(offset + padding + map.width, padding + 1, size);
    }
}

}  // namespace spk::avx2
