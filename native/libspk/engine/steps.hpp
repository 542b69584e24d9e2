// The steps of a session: each runs a layer from its sums to the counts of the neurons behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/aligned.hpp"
#include "engine/values.hpp"
#include "kernels/kernels.hpp"

namespace spk {

// What steps share while they run.
struct Workshop {
    Threads& threads;
    const InstructionSet& set;
    // Of each thread, as many integers as the step with most asks for.
    std::vector<AlignedArray<int32_t>> scratch;

    void provide(size_t integers) {
        scratch.resize(size_t(threads.count()));
        for (AlignedArray<int32_t>& each : scratch) {
            if (each.size() < integers) each = AlignedArray<int32_t>(integers);
        }
    }
};

class Step {
public:
    virtual ~Step() = default;
    virtual void run(Workshop& workshop) = 0;
    // Of the kernel that ran last.
    virtual std::string form() const { return "node"; }
    // Integers of scratch memory for each thread.
    virtual size_t scratch() const { return 0; }
};

// A step that makes rows of sums, a few pixels at a time.
class RowsStep : public Step {
public:
    // What becomes of the sums: `to` is of counts, or none and they end in the epilogue.
    RowsStep(int64_t pixels, int32_t channels, const Epilogue& epilogue, const Value& to);

    void run(Workshop& workshop) override;
    size_t scratch() const override;

protected:
    // Before the rows, once.
    virtual void begin(Workshop&) {}
    // Writes the sums of pixels begin..end to `rows` [end - begin][stride]. `spare` holds
    // `spare_integers` integers.
    virtual void fill(
        int64_t begin, int64_t end, int32_t* rows, int32_t stride, int32_t* spare) const = 0;
    virtual size_t spare_integers() const { return 0; }

private:
    void store(int64_t begin, int64_t end, const int32_t* rows) const;

    int64_t pixels_, tile_;
    int32_t channels_, stride_;
    const Epilogue& epilogue_;
    const Value& to_;
};

// Steps of nodes in portable C++. `inputs` and `to` are where values lie, and stay there.
struct StepSite {
    int64_t pixels;  // of the result, of all images
    int32_t channels;
    const Epilogue& epilogue;
    const Value& to;
    std::vector<const Value*> inputs;
    const Network& network;
    const Node& node;
};

std::unique_ptr<Step> make_copy(const StepSite& site);
std::unique_ptr<Step> make_add(const StepSite& site);
std::unique_ptr<Step> make_gate(const StepSite& site);
std::unique_ptr<Step> make_max_pool(const StepSite& site);
std::unique_ptr<Step> make_pool(const StepSite& site);
std::unique_ptr<Step> make_spike_sum(const StepSite& site);
std::unique_ptr<Step> make_current_product(const StepSite& site);
std::unique_ptr<Step> make_attention_of_currents(const StepSite& site);
std::unique_ptr<Step> make_synapse_of_currents(const StepSite& site);
std::unique_ptr<Step> make_embedding(const StepSite& site);
std::unique_ptr<Step> make_position(const StepSite& site);
std::unique_ptr<Step> make_resize(const StepSite& site);
std::unique_ptr<Step> make_sample(const StepSite& site);
std::unique_ptr<Step> make_mask_product(const StepSite& site);

}  // namespace spk
