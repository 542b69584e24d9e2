// What runs a network for a batch and size: the reference and the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "network/network.hpp"

namespace spk {

struct Settings {
    int64_t batch, height, width;
    bool frames;  // each time step has an input of its own
    int threads;
    std::string kernels;  // of the engine: an instruction set
    std::string form;     // of synapses; empty: the fastest of each call
};

// Counts [B][C][H][W] of a neuron, by its place among the network's nodes.
using Observer = std::function<void(int32_t node, const uint8_t* counts, size_t size)>;

class Executor {
public:
    virtual ~Executor() = default;
    // Membranes and sums at rest.
    virtual void reset() = 0;
    // One time step of frames [B][C][H][W]. A null frame presents the last one again, which spares
    // what does not change.
    virtual void step(const float* frame, const Observer& observe) = 0;
    // The sum over time of an output, by its place among the nodes, as [B][K], [B][K][H][W] or,
    // of queries, [B][Q][K].
    virtual void read_output(int32_t node, int32_t* to) const = 0;
    // Membranes (T > 1) and sums over time, node after node, each [B][C][H][W] as int32, whatever
    // kernels and threads there are.
    virtual size_t state_size() const = 0;
    virtual void save_state(uint8_t* to) const = 0;
    virtual void load_state(const uint8_t* from) = 0;
    virtual std::string report() const = 0;
};

// Every node by itself, in 64 bits, one thread: the definition in C++.
std::unique_ptr<Executor> make_reference(
    std::shared_ptr<const Network> network, const Settings& settings);
std::unique_ptr<Executor> make_engine(
    std::shared_ptr<const Network> network, const Settings& settings);
// Instruction sets of the engine that run here, best first; the last is "generic".
std::vector<std::string> kernels_here();
// The names that forms of a synapse have in any of them.
std::vector<std::string> forms_here();

}  // namespace spk
