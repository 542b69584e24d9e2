// A network and a session of it, which go away by themselves; errors are mistakes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "command/arguments.hpp"
#include "spk.h"

namespace spk::command {

struct Release {
    void operator()(spk_network* network) const { spk_close(network); }
    void operator()(spk_session* session) const { spk_release(session); }
};
using Network = std::unique_ptr<spk_network, Release>;
using Session = std::unique_ptr<spk_session, Release>;

// Throws Mistake with what the library says.
void check(spk_status status, const std::string& about);

Network open_network(const std::string& path);
spk_info info_of(const Network& network);
// What the arguments ask for, for inputs of a batch and size.
Session prepare(const Network& network, const Arguments& arguments, int32_t batch, int32_t height,
                int32_t width, bool frames);

struct Output {
    std::string name;
    double scale;
    std::vector<int64_t> shape;
    std::vector<int32_t> logits;
};
std::vector<Output> outputs_of(const Session& session, int32_t count);
void run(const Session& session, const std::vector<float>& input, std::vector<Output>& outputs);

struct NeuronLayer {
    std::string name;
    int32_t levels;
    std::vector<int64_t> shape;
};
std::vector<NeuronLayer> neurons_of(const Session& session, int32_t count);

}  // namespace spk::command
