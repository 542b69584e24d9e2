#include "command/benchmark.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

namespace spk::command {

namespace {

double megabytes_of(const std::string& key) {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        double kilobytes = 0;
        if (word == key && status >> kilobytes) return kilobytes / 1024;
    }
    return 0;
}

}  // namespace

double milliseconds_now() {
    const std::chrono::duration<double, std::milli> now =
        std::chrono::steady_clock::now().time_since_epoch();
    return now.count();
}

Times time_runs(const Session& session, const std::vector<float>& input,
                std::vector<Output>& outputs, int32_t rounds) {
    std::vector<double> times;
    for (int32_t round = 0; round < rounds; round++) {
        const double start = milliseconds_now();
        run(session, input, outputs);
        times.push_back(milliseconds_now() - start);
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.front()};
}

double resident_megabytes() { return megabytes_of("VmRSS:"); }

double peak_megabytes() { return megabytes_of("VmHWM:"); }

}  // namespace spk::command
