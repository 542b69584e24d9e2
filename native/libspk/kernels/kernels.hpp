// What an instruction set offers to the engine. One file per set implements it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/epilogue.hpp"
#include "engine/maps.hpp"
#include "engine/threads.hpp"

namespace spk {

// A synapse that reads a count map (or the image), as a kernel must know it.
struct Convolution {
    int32_t outputs, inputs, side, stride, padding, groups;  // a matrix is a 1x1 kernel
    const int8_t* weight;          // [outputs][inputs / groups][side][side]; valid while made
    int32_t lowest, highest;       // integers that inputs can be, zero not yet added
    uint8_t zero;                  // of the map: 0, or 128 for the image
    int32_t images, height, width;  // of the output
    int32_t threads;
};

class SynapseKernel {
public:
    virtual ~SynapseKernel() = default;
    // Sums, then the epilogue, for every pixel and channel of the output.
    virtual void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) = 0;
    // Expected microseconds of one thread, at a share of nonzero counts.
    virtual double cost(double nonzero) const = 0;
    virtual size_t bytes() const = 0;  // that its weights take
};

// Context = V K^T per head, then context times Q, then the epilogue.
struct AttentionShape {
    int32_t images, heads;
    int32_t channels;  // of query and key
    int32_t values;    // channels of value and of the result
    int32_t queries, tokens;  // pixels of the query and of key and value
    int32_t highest_query, highest_key, highest_value;
    int32_t threads;
};

class AttentionKernel {
public:
    virtual ~AttentionKernel() = default;
    virtual void run(const CountMap& query, const CountMap& key, const CountMap& value,
                     const Epilogue& epilogue, Threads& threads) = 0;
};

struct SynapseForm {
    const char* name;  // "dense", "sparse", "winograd", "depthwise", "image", ...
    // Null where the form does not serve, or where these very weights do not prove that it is
    // exact (sums in int16, saturation of pairs).
    std::unique_ptr<SynapseKernel> (*make)(const Convolution& convolution);
    // What SynapseKernel::cost would say, from the shape alone (its weight may be null), or
    // negative where the form does not serve it: so that nothing is packed that will not run.
    // Where there is no such function, a kernel is made and asked.
    double (*cost)(const Convolution& convolution, double nonzero) = nullptr;
};

struct InstructionSet {
    const char* name;
    bool (*is_here)();
    std::vector<SynapseForm> synapses;  // every set ends with a form that always serves
    // Null where it cannot be exact; the generic one serves always.
    std::unique_ptr<AttentionKernel> (*make_attention)(const AttentionShape& shape);
    // The epilogue of sums [end - begin][stride] of the output's pixels begin..end, in the order of
    // images, rows and columns.
    void (*finish)(
        const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end);
};

const InstructionSet& generic_set();
#if defined(__x86_64__) || defined(_M_X64)
const InstructionSet& avx2_set();
const InstructionSet& avx512_set();
const InstructionSet& amx_set();
#elif defined(__aarch64__)
const InstructionSet& neon_set();
#endif

}  // namespace spk
