// A neuron as the epilogue takes it, and its membrane from one time step to the next.
#pragma once

#include <cstdint>

#include "engine/aligned.hpp"
#include "engine/epilogue.hpp"
#include "network/network.hpp"

namespace spk {

class Membranes {
public:
    // `pixels`: how many the neuron's current is the sum of.
    Membranes(const Neuron& neuron, const CountMap& to, int64_t pixels);

    const Firing& firing() const { return firing_; }
    bool has_state() const { return firing_.membrane != nullptr; }
    void reset();
    // [images][channels][height][width]
    int64_t size() const { return firing_.to.pixels() * firing_.to.channels; }
    void save(int32_t* to) const;
    void load(const int32_t* from);

private:
    template <typename Visit>
    void visit(Visit visit) const;

    Firing firing_;
    int32_t stride_;
    AlignedArray<int32_t> below_, membrane_, bias_, step_;
    AlignedArray<float> gain_, offset_;
};

}  // namespace spk
