// The epilogue with sixteen channels of a pixel in one register.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "engine/epilogue.hpp"
#include "kernels/places.hpp"

namespace spk::avx512 {

// A neuron, where the pixels of its map lie, and how many of its counts were not zero.
struct Written {
    const Firing* firing;
    uint8_t* first;
    int64_t stride, row_bytes, image_bytes;
    int64_t nonzeros;
};

struct StageOfEpilogue {
    const CurrentMap* add;
    CurrentMap* keep;
    int32_t neurons;
};

// An epilogue without anything that a file compiled for AVX-512 might share with others.
struct Steps {
    const int32_t *left, *bias, *right;  // null where nothing is shifted
    const StageOfEpilogue* stages;
    int32_t count;  // of stages
    int64_t stride;  // of thresholds
    Written* written;  // neurons, stage by stage
};

// Of pixels, and channels channel..channel + 15: sums [pixels][16], aligned to 64 bytes, end as
// what the last stage leaves.
void finish(
    const Steps& steps, const Place* places, int32_t pixels, int32_t channel, int32_t* sums);

// An epilogue at work in one task; counts that are not zero are added to the maps at its end.
class Finisher {
public:
    explicit Finisher(const Epilogue& epilogue) {
        for (const Stage& stage : epilogue.stages) {
            stages_.push_back({stage.add, stage.keep, int32_t(stage.neurons.size())});
            for (const Firing& firing : stage.neurons) {
                const CountMap& to = firing.to;
                written_.push_back({&firing, to.pixel(0, 0, 0), to.stride, to.row_bytes(),
                                    to.image_bytes(), 0});
            }
        }
        steps_ = {epilogue.left, epilogue.bias, epilogue.right, stages_.data(),
                  int32_t(stages_.size()), round_up(epilogue.channels, kCurrentLanes),
                  written_.data()};
    }
    Finisher(const Finisher&) = delete;
    Finisher& operator=(const Finisher&) = delete;
    ~Finisher() {
        for (const Written& map : written_) {
            std::atomic<int64_t>* of_all = map.firing->to.nonzeros;
            if (of_all) of_all->fetch_add(map.nonzeros, std::memory_order_relaxed);
        }
    }

    void finish(const Place* places, int32_t pixels, int32_t channel, int32_t* sums) {
        avx512::finish(steps_, places, pixels, channel, sums);
    }

private:
    std::vector<StageOfEpilogue> stages_;
    std::vector<Written> written_;
    Steps steps_;
};

}  // namespace spk::avx512
