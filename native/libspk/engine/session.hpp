// The engine: a plan, memory for it, and the steps that run it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/membranes.hpp"
#include "engine/placement.hpp"
#include "engine/plan.hpp"
#include "engine/steps.hpp"
#include "executor.hpp"

namespace spk {

class Session : public Executor {
public:
    Session(std::shared_ptr<const Network> network, const Settings& settings);

    void reset() override;
    void step(const float* frame, const Observer& observe) override;
    void read_output(int32_t node, int32_t* to) const override;
    size_t state_size() const override;
    // Membranes and sums as int32, least byte first, in the order of the nodes, each in the order
    // of images, channels, rows and columns; the same as the reference's.
    void save_state(uint8_t* to) const override;
    void load_state(const uint8_t* from) override;
    std::string report() const override;

private:
    struct Layer {
        std::unique_ptr<Step> step;
        std::unique_ptr<Epilogue> epilogue;
        AlignedArray<int32_t> left, bias, right;
        const PlannedStep* plan;
        std::vector<int32_t> neurons;  // all of its stages
        double microseconds = 0;
        double share = -1;  // of nonzero counts that it read, or negative
    };

    void build(const PlannedStep& planned, Layer& layer);
    void build_epilogue(const PlannedStep& planned, Layer& layer);
    std::unique_ptr<Step> make_step(const PlannedStep& planned, const Layer& layer);
    std::unique_ptr<Step> make_synapse(const StepSite& site);
    std::unique_ptr<Step> make_attention(const StepSite& site);
    void run(Layer& layer);
    void quantise(const float* frame);
    void show(int32_t neuron, const Observer& observe);
    void forget_nonzeros(int32_t node);

    std::shared_ptr<const Network> network_;
    Settings settings_;
    Plan plan_;
    Threads threads_;
    Workshop workshop_;
    Placement values_;
    std::vector<std::unique_ptr<Membranes>> membranes_;   // of neurons
    std::vector<std::vector<int32_t>> sums_;              // of outputs, [images][C][H][W]
    std::vector<Layer> layers_;
    std::vector<uint8_t> shown_;
    bool has_frame_ = false;
};

}  // namespace spk
