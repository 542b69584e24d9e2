// What is run in which order, before there is any memory for it.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/values.hpp"
#include "network/network.hpp"

namespace spk {

// How often a value changes: never, with each image, with each time step.
enum class Pace { constant, still, moving };

// The value of a node, what is added to give it, and the neurons that read it at once.
struct PlannedStage {
    int32_t node;
    int32_t added = -1;
    std::vector<int32_t> neurons;
};

struct PlannedStep {
    // Of the first stage; where it `fires_alone` the value is there already and read from memory.
    int32_t node;
    bool fires_alone;
    Pace pace;
    std::vector<PlannedStage> stages;  // the first is the node's own

    // Nodes whose values it reads from memory.
    std::vector<int32_t> reads(const Network& network) const;
};

// Inputs of a node whose integers it reads, and not only their shape.
std::vector<int32_t> values_read(const Node& node);

struct Plan {
    std::vector<Shape> shapes;
    std::vector<Reach> reaches;
    std::vector<std::vector<int32_t>> readers;
    std::vector<Pace> paces;
    std::vector<Layout> layouts;  // none: nobody needs it in memory
    std::vector<PlannedStep> steps;
};

// `presents`: whether one image serves all time steps.
Plan make_plan(const Network& network, int64_t height, int64_t width, bool presents);

}  // namespace spk
