// Milliseconds of a call, and resident memory.
#pragma once

#include <vector>

#include "command/network.hpp"

namespace spk::command {

double milliseconds_now();
struct Times {
    double median, fastest;
};
Times time_runs(const Session& session, const std::vector<float>& input,
                std::vector<Output>& outputs, int32_t rounds);
// Megabytes of this process now and at most; 0 where the system does not say.
double resident_megabytes();
double peak_megabytes();

}  // namespace spk::command
