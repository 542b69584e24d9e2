// Where the counts of a map are not zero.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/aligned.hpp"
#include "engine/maps.hpp"
#include "engine/threads.hpp"

namespace spk::avx2 {

// Counts that are not zero, in a few neighbouring columns of a row and in a segment of channels.
struct NonzeroRun {
    const uint16_t* index;  // column * segment + channel of the segment
    const uint8_t* count;
    int64_t size;
};

// Per row and segment one run over all columns, so that those of a kernel follow each other.
// Columns count from the left end of the padding.
class NonzeroLists {
public:
    void build(const CountMap& map, int32_t padding, int32_t segment, Threads& threads);

    NonzeroRun run(int64_t row, int32_t segment, int32_t column, int32_t columns) const {
        const int64_t list = row * segments_ + segment;
        const uint32_t* offset = offset_.data() + list * (columns_ + 1) + column;
        const int64_t begin = list * capacity_ + offset[0];
        return {index_.data() + begin, count_.data() + begin, offset[columns] - offset[0]};
    }

private:
    void build_row(const CountMap& map, int64_t row, int32_t padding, int32_t segment);

    int32_t segments_ = 0, columns_ = 0;
    int64_t capacity_ = 0;  // of a list
    AlignedArray<uint16_t> index_;
    AlignedArray<uint8_t> count_;
    AlignedArray<uint32_t> offset_;  // [list][columns + 1]
};

}  // namespace spk::avx2
