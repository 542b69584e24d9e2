#include <algorithm>

#include "engine/steps.hpp"

namespace spk {
namespace {

constexpr int64_t kIntegersOfTile = 8192;  // fit the first cache beside what they are made from

}  // namespace

RowsStep::RowsStep(int64_t pixels, int32_t channels, const Epilogue& epilogue, const Value& to)
    : pixels_(pixels),
      channels_(channels),
      stride_(round_up(channels, kCurrentLanes)),
      epilogue_(epilogue),
      to_(to) {
    tile_ = std::clamp(kIntegersOfTile / stride_, int64_t(1), pixels_);
}

size_t RowsStep::scratch() const {
    const size_t spare = (spare_integers() + kCurrentLanes - 1) / kCurrentLanes * kCurrentLanes;
    return size_t(tile_ * stride_) + spare;
}

void RowsStep::run(Workshop& workshop) {
    begin(workshop);
    // Enough tasks that threads end at the same time.
    const int64_t least = (pixels_ + 4 * workshop.threads.count() - 1) /
                          (4 * int64_t(workshop.threads.count()));
    const int64_t tile = std::min(tile_, least);
    workshop.threads.run((pixels_ + tile - 1) / tile, [&](int64_t task, int thread) {
        int32_t* rows = workshop.scratch[size_t(thread)].data();
        const int64_t first = task * tile, last = std::min(first + tile, pixels_);
        fill(first, last, rows, stride_, rows + tile_ * stride_);
        if (to_.is_counts()) {
            store(first, last, rows);
        } else {
            workshop.set.finish(rows, stride_, epilogue_, first, last);
        }
    });
}

void RowsStep::store(int64_t begin, int64_t end, const int32_t* rows) const {
    const CountMap& map = to_.counts;
    int64_t nonzeros = 0;
    for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride_) {
        const int64_t row = pixel / map.width;
        uint8_t* to = map.pixel(row / map.height, row % map.height, pixel % map.width);
        for (int32_t c = 0; c < channels_; ++c) {
            to[c] = uint8_t(rows[c]);
            nonzeros += rows[c] != 0;
        }
    }
    map.nonzeros->fetch_add(nonzeros, std::memory_order_relaxed);
}

}  // namespace spk
