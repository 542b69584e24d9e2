#include "kernels/dense_tiles.hpp"

#include <algorithm>
#include <cstring>

namespace spk {
namespace {

constexpr int64_t kTileBytes = 160 * 1024;
constexpr int32_t kTasksPerThread = 4;

}  // namespace

DenseInputs::DenseInputs(const Convolution& convolution)
    : inputs_(convolution.inputs), side_(convolution.side),
      taps_of_run_(inputs_ % kCountLanes == 0 ? side_ : 1),
      runs_(side_ * side_ / taps_of_run_) {}

void DenseInputs::row(
    const Convolution& convolution, int32_t output, int32_t run, int8_t* to) const {
    const int32_t taps = side_ * side_;
    const int8_t* from = convolution.weight + int64_t(output) * inputs_ * taps;
    if (side_ == 1) {
        std::memcpy(to, from, inputs_);
        return;
    }
    for (int32_t tap = 0; tap < taps_of_run_; ++tap) {
        const int8_t* of_tap = from + run * taps_of_run_ + tap;
        for (int32_t input = 0; input < inputs_; ++input) *to++ = of_tap[int64_t(input) * taps];
    }
}

std::vector<int64_t> DenseInputs::offsets(const CountMap& from) const {
    std::vector<int64_t> offsets;
    for (int32_t run = 0; run < runs_; ++run) {
        const int32_t tap = run * taps_of_run_;
        offsets.push_back(
            tap / side_ * from.row_bytes() + int64_t(tap % side_) * from.stride);
    }
    return offsets;
}

AlignedArray<int32_t> correction_of_zero(const Convolution& convolution, int32_t lanes) {
    AlignedArray<int32_t> correction(round_up(convolution.outputs, lanes));
    if (!convolution.zero) return correction;
    const int64_t count = int64_t(convolution.inputs) * convolution.side * convolution.side;
    for (int32_t output = 0; output < convolution.outputs; ++output) {
        int32_t sum = 0;
        for (int64_t i = 0; i < count; ++i) sum += convolution.weight[output * count + i];
        correction[output] = -sum * convolution.zero;
    }
    return correction;
}

void share_dense(
    const Convolution& convolution, const CountMap& from, int32_t blocks, size_t weight_bytes,
    int32_t group, Threads& threads, const std::function<void(const DensePart&)>& work) {
    const int64_t pixels =
        int64_t(convolution.images) * convolution.height * convolution.width;
    const int64_t tasks = threads.count() == 1 ? 1 : threads.count() * kTasksPerThread;
    const bool by_output =
        size_t(pixels) * from.stride < weight_bytes && blocks >= threads.count();
    if (by_output) {
        const int64_t parts = std::min<int64_t>(tasks, blocks);
        threads.run(parts, [&](int64_t task, int) {
            work({int32_t(blocks * task / parts), int32_t(blocks * (task + 1) / parts), 0, pixels});
        });
        return;
    }
    const int64_t groups = (pixels + group - 1) / group;
    const int64_t parts = std::min(tasks, groups);
    threads.run(parts, [&](int64_t task, int) {
        work({0, blocks, groups * task / parts * group,
              std::min(pixels, groups * (task + 1) / parts * group)});
    });
}

DenseTiles::DenseTiles(
    const Convolution& convolution, const CountMap& from, const DensePart& part, int32_t group)
    : convolution_(convolution), from_(from), last_(part.last),
      place_(place_of(part.first, convolution.height, convolution.width)) {
    const int64_t input_bytes = int64_t(from.stride) * convolution.stride * convolution.stride;
    const int64_t most = std::max<int64_t>(2 * group, kTileBytes / input_bytes / group * group);
    places_.resize(size_t(std::min(most, part.last - part.first)));
    starts_.resize(places_.size());
}

bool DenseTiles::next() {
    count_ = std::min(int64_t(places_.size()), last_ - place_.index);
    for (int64_t i = 0; i < count_; ++i) {
        places_[i] = place_;
        starts_[i] = from_.pixel(
            place_.image, int64_t(place_.y) * convolution_.stride - convolution_.padding,
            int64_t(place_.x) * convolution_.stride - convolution_.padding);
        advance(place_, convolution_.height, convolution_.width);
    }
    return count_ > 0;
}

}  // namespace spk
