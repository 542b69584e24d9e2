// A synapse that reads counts: which of its kernels runs is decided at every call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/steps.hpp"

namespace spk {

class SynapseStep : public Step {
public:
    // `form`: the only one wanted, or empty. Where it cannot serve, the cheapest one does.
    SynapseStep(
        const InstructionSet& set, const std::string& form, const Synapse& synapse,
        const Convolution& convolution, const CountMap& from, const Epilogue& epilogue);

    void run(Workshop& workshop) override;
    std::string form() const override { return set_.synapses[candidates_[current_].form].name; }

private:
    // A form that may serve, and what it costs at shares of nonzero counts from none to all.
    struct Candidate {
        size_t form;
        std::vector<double> cost;  // microseconds

        double at(double share) const;
    };

    void consider(size_t form);
    // The cheapest at a share.
    size_t best(double share) const;
    // Makes the kernel of a candidate, or drops it where its weights do not serve.
    bool take(size_t candidate);
    void choose(double share);

    const InstructionSet& set_;
    const Synapse& synapse_;
    Convolution convolution_;
    const CountMap& from_;
    const Epilogue& epilogue_;
    std::vector<Candidate> candidates_;
    std::unique_ptr<SynapseKernel> kernel_;
    size_t current_ = 0;  // its candidate
    double making_ = 0;   // microseconds that it took to make a kernel
    double regret_ = 0;   // microseconds that the current one has cost more than the best
};

}  // namespace spk
