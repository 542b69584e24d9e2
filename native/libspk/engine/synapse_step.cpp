#include "engine/synapse_step.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace spk {
namespace {

constexpr int32_t kShares = 32;  // a cost is kept at so many steps of the share

double microseconds_since(std::chrono::steady_clock::time_point start) {
    const auto passed = std::chrono::steady_clock::now() - start;
    return std::chrono::duration<double, std::micro>(passed).count();
}

}  // namespace

SynapseStep::SynapseStep(
    const InstructionSet& set, const std::string& form, const Synapse& synapse,
    const Convolution& convolution, const CountMap& from, const Epilogue& epilogue)
    : set_(set),
      synapse_(synapse),
      convolution_(convolution),
      from_(from),
      epilogue_(epilogue) {
    const std::vector<int8_t> weight = synapse.weight();
    convolution_.weight = weight.data();
    // Before anything ran, about as many counts are nonzero as in networks that are not quiet.
    constexpr double kExpected = 0.35;
    double best = 0;
    for (size_t index = 0; index < set.synapses.size(); ++index) {
        const auto start = std::chrono::steady_clock::now();
        std::unique_ptr<SynapseKernel> kernel = set.synapses[index].make(convolution_);
        if (!kernel) continue;
        Candidate candidate{index, {}, microseconds_since(start)};
        for (int32_t i = 0; i <= kShares; ++i) {
            candidate.cost.push_back(kernel->cost(double(i) / kShares));
        }
        const bool wanted = set.synapses[index].name == form;
        const double cost = wanted ? -1 : candidate.at(kExpected);
        if (wanted) candidates_.clear();
        candidates_.push_back(std::move(candidate));
        if (!kernel_ || cost < best) {
            best = cost;
            kernel_ = std::move(kernel);
            current_ = index;
        }
        if (wanted) break;
    }
    convolution_.weight = nullptr;
}

double SynapseStep::Candidate::at(double share) const {
    const double place = std::clamp(share, 0.0, 1.0) * kShares;
    const size_t below = std::min(size_t(place), size_t(kShares - 1));
    return cost[below] + (cost[below + 1] - cost[below]) * (place - double(below));
}

void SynapseStep::choose(double share) {
    const Candidate* best = &candidates_.front();
    const Candidate* own = best;
    for (const Candidate& candidate : candidates_) {
        if (candidate.at(share) < best->at(share)) best = &candidate;
        if (candidate.form == current_) own = &candidate;
    }
    // Weights of one form alone stay in memory. It changes when what it has cost too much would
    // have paid for making the other: activity that goes back and forth costs twice at most.
    regret_ = best == own ? regret_ / 2 : regret_ + own->at(share) - best->at(share);
    if (regret_ < best->making) return;
    regret_ = 0;
    const std::vector<int8_t> weight = synapse_.weight();
    convolution_.weight = weight.data();
    kernel_.reset();
    kernel_ = set_.synapses[best->form].make(convolution_);
    convolution_.weight = nullptr;
    current_ = best->form;
}

void SynapseStep::run(Workshop& workshop) {
    if (candidates_.size() > 1) {
        const double counts = double(from_.pixels()) * from_.channels;
        choose(double(from_.nonzeros->load(std::memory_order_relaxed)) / counts);
    }
    kernel_->run(from_, epilogue_, workshop.threads);
}

}  // namespace spk
