// What each layer does: firing rates, nonzero counts, kernels and microseconds.
#pragma once

#include <string>
#include <vector>

#include "command/network.hpp"

namespace spk::command {

struct Activity {
    int64_t counts = 0, nonzero = 0, sum = 0;
};

// Of each neuron, during one run.
std::vector<Activity> observe(const Session& session, const std::vector<float>& input,
                              std::vector<Output>& outputs, size_t neurons);
std::string activity_text(const std::vector<NeuronLayer>& neurons,
                          const std::vector<Activity>& activities, const char* report);
// Members of a JSON object.
std::string activity_json(const std::vector<NeuronLayer>& neurons,
                          const std::vector<Activity>& activities, const char* report);

}  // namespace spk::command
