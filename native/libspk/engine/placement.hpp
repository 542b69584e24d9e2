// Where values lie: memory is used again once a value has been read for the last time.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/aligned.hpp"
#include "engine/plan.hpp"
#include "engine/values.hpp"

namespace spk {

class Placement {
public:
    Placement(const Network& network, const Plan& plan, int32_t images);

    Value& operator[](int32_t node) { return values_[node]; }
    const Value& operator[](int32_t node) const { return values_[node]; }
    size_t bytes() const { return memory_.size(); }

private:
    std::vector<Value> values_;
    std::deque<std::atomic<int64_t>> nonzeros_;
    AlignedArray<uint8_t> memory_;
};

}  // namespace spk
