#include "engine/synapse_step.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>

namespace spk {
namespace {

constexpr int32_t kShares = 32;  // a cost is kept at so many steps of the share
// Before anything ran, as many counts are nonzero as in networks that are not quiet.
constexpr double kExpectedShare = 0.35;

}  // namespace

SynapseStep::SynapseStep(
    const InstructionSet& set, const std::string& form, const Synapse& synapse,
    const Convolution& convolution, const CountMap& from, const Epilogue& epilogue)
    : set_(set),
      synapse_(synapse),
      convolution_(convolution),
      from_(from),
      epilogue_(epilogue) {
    convolution_.weight = nullptr;
    for (size_t index = 0; index < set.synapses.size(); ++index) {
        if (set.synapses[index].name == form) consider(index);
    }
    if (!candidates_.empty() && take(0)) return;
    // The last form, which always serves, is slower than whatever else does.
    for (size_t index = 0; index + 1 < set.synapses.size(); ++index) consider(index);
    while (!candidates_.empty()) {
        if (take(best(kExpectedShare))) return;
    }
    candidates_.push_back({set.synapses.size() - 1, {0, 0}});
    const bool serves = take(0);
    assert(serves);
    (void)serves;
}

void SynapseStep::consider(size_t index) {
    const SynapseForm& form = set_.synapses[index];
    std::vector<int8_t> weight;
    std::unique_ptr<SynapseKernel> kernel;
    if (!form.cost) {
        weight = synapse_.weight();
        Convolution convolution = convolution_;
        convolution.weight = weight.data();
        kernel = form.make(convolution);
        if (!kernel) return;
    }
    Candidate candidate{index, {}};
    for (int32_t i = 0; i <= kShares; ++i) {
        const double share = double(i) / kShares;
        candidate.cost.push_back(kernel ? kernel->cost(share) : form.cost(convolution_, share));
    }
    if (candidate.cost.front() >= 0) candidates_.push_back(std::move(candidate));
}

double SynapseStep::Candidate::at(double share) const {
    const size_t steps = cost.size() - 1;
    const double place = std::clamp(share, 0.0, 1.0) * double(steps);
    const size_t below = std::min(size_t(place), steps - 1);
    return cost[below] + (cost[below + 1] - cost[below]) * (place - double(below));
}

size_t SynapseStep::best(double share) const {
    size_t best = 0;
    for (size_t i = 1; i < candidates_.size(); ++i) {
        if (candidates_[i].at(share) < candidates_[best].at(share)) best = i;
    }
    return best;
}

bool SynapseStep::take(size_t candidate) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<int8_t> weight = synapse_.weight();
    Convolution convolution = convolution_;
    convolution.weight = weight.data();
    std::unique_ptr<SynapseKernel> kernel =
        set_.synapses[candidates_[candidate].form].make(convolution);
    if (!kernel) {
        candidates_.erase(candidates_.begin() + int64_t(candidate));
        if (candidate < current_) --current_;
        return false;
    }
    kernel_ = std::move(kernel);
    current_ = candidate;
    const auto taken = std::chrono::steady_clock::now() - start;
    making_ = std::chrono::duration<double, std::micro>(taken).count();
    return true;
}

void SynapseStep::choose(double share) {
    const size_t cheapest = best(share);
    if (cheapest == current_) {
        regret_ /= 2;
        return;
    }
    // Weights of one form alone stay in memory. It changes when what it has cost too much would
    // have paid for making the other: activity that goes back and forth costs twice at most.
    regret_ += candidates_[current_].at(share) - candidates_[cheapest].at(share);
    if (regret_ < making_) return;
    regret_ = 0;
    take(cheapest);
}

void SynapseStep::run(Workshop& workshop) {
    if (candidates_.size() > 1) {
        const double counts = double(from_.pixels()) * from_.channels;
        choose(double(from_.nonzeros->load(std::memory_order_relaxed)) / counts);
    }
    kernel_->run(from_, epilogue_, workshop.threads);
}

}  // namespace spk
