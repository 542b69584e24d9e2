#include "fuzz/fuzz.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "file/file.hpp"
#include "file/sha256.hpp"
#include "network/network.hpp"
#include "spk.h"

namespace spk {

Fuzzed fuzzed;

namespace {

constexpr double kMostOperations = 3e6;
constexpr int64_t kSmallSide = 16;

void require(bool holds, const char* problem) {
    if (holds) return;
    std::fprintf(stderr, "%s (%s)\n", problem, spk_last_error());
    std::abort();
}

// With the checksum that its content has, so that what follows is read as well.
std::vector<uint8_t> sealed(const uint8_t* bytes, size_t size) {
    std::vector<uint8_t> file(bytes, bytes + size);
    static const std::string key = "\"sha256\":\"", zeros(64, '0');
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const size_t at = text.find(key);
    if (at == std::string_view::npos || size - at < key.size() + zeros.size()) return file;
    uint8_t* digits = file.data() + at + key.size();
    std::memcpy(digits, zeros.data(), zeros.size());
    Sha256 checksum;
    checksum.update(file.data(), file.size());
    const std::string digest = checksum.digest();
    std::memcpy(digits, digest.data(), digest.size());
    return file;
}

// About how many operations a run takes; infinity where the size does not fit the network.
double operations(const Network& network, int64_t height, int64_t width) {
    std::vector<Shape> shapes;
    try {
        shapes = infer_shapes(network, height, width);
    } catch (const Error&) {
        return HUGE_VAL;
    }
    double total = 0;
    for (size_t i = 0; i < shapes.size(); ++i) {
        const Node& node = network.nodes[i];
        const auto source = [&](size_t input) { return shapes[size_t(node.inputs[input])]; };
        double each = 4;
        if (const auto* synapse = std::get_if<Synapse>(&node.operation))
            each = double(synapse->weights_per_output());
        if (const auto* neuron = std::get_if<Neuron>(&node.operation)) each = neuron->levels;
        if (const auto* pool = std::get_if<MaxPool>(&node.operation))
            each = double(pool->kernel) * pool->kernel;
        if (const auto* sample = std::get_if<Sample>(&node.operation))
            each = 8.0 * sample->side * sample->side;
        if (std::holds_alternative<MaskProduct>(node.operation))
            each = double(source(0).channels);
        total += each * double(shapes[i].elements());
        if (const auto* attention = std::get_if<Attention>(&node.operation)) {
            const double side = double(shapes[i].channels) / attention->heads;
            total += side * (double(source(1).elements()) + double(source(0).elements()));
        }
    }
    return total * network.input().steps;
}

using Handle = std::unique_ptr<spk_network, void (*)(spk_network*)>;
using Session = std::unique_ptr<spk_session, void (*)(spk_session*)>;
using Outputs = std::vector<std::vector<int32_t>>;

Outputs outputs_of(const spk_session* session, int32_t count) {
    Outputs outputs;
    for (int32_t i = 0; i < count; ++i) {
        spk_output output;
        require(spk_output_of(session, i, &output) == SPK_OK, "an output is not described");
        size_t size = 1;
        for (int32_t side = 0; side < output.rank; ++side) size *= size_t(output.shape[side]);
        outputs.emplace_back(size);
    }
    return outputs;
}

uint64_t hash(uint64_t value, const uint8_t* bytes, size_t size) {
    for (size_t i = 0; i < size; ++i) value = (value ^ bytes[i]) * 1099511628211u;
    return value;
}

// Adds the hash of a neuron's counts, since kernels may take neurons in an order of their own.
void observe(void* context, int32_t neuron, int32_t step, const uint8_t* counts, size_t size) {
    const int32_t place[] = {neuron, step};
    const uint64_t start = hash(14695981039346656037u, reinterpret_cast<const uint8_t*>(place),
                                sizeof place);
    *static_cast<uint64_t*>(context) += hash(start, counts, size);
}

std::vector<float> noise(size_t size) {
    std::vector<float> values(size);
    uint32_t state = 1;
    for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = float(int32_t(state >> 16) - 32768) / 8192.0f;
    }
    return values;
}

struct Answer {
    spk_status status = SPK_OK;
    Outputs outputs;
    uint64_t counts = 0;
};

// A run, and the same as steps with the state carried from one session to another in between.
Answer answer_of(const spk_network* network, const spk_info& info, const spk_options& options,
                 const std::vector<float>& input) {
    Answer answer;
    spk_session* made = nullptr;
    answer.status = spk_prepare(network, &options, &made);
    Session session(made, spk_release);
    if (answer.status != SPK_OK) return answer;
    answer.outputs = outputs_of(made, info.outputs);
    std::vector<int32_t*> to;
    for (auto& output : answer.outputs) to.push_back(output.data());
    uint64_t counts = 0;
    require(spk_observe(made, observe, &counts) == SPK_OK, "counts are not observed");
    answer.status = spk_run(made, input.data(), to.data());
    answer.counts = counts;
    if (answer.status != SPK_OK) return answer;
    const Outputs whole = answer.outputs;
    require(spk_run(made, input.data(), to.data()) == SPK_OK && answer.outputs == whole,
            "a second run differs");
    if (info.steps > 4) return answer;
    spk_session* other = nullptr;
    require(spk_prepare(network, &options, &other) == SPK_OK, "a second session is refused");
    Session second(other, spk_release);
    spk_session* sessions[] = {made, other};
    require(spk_reset(made) == SPK_OK, "no rest");
    std::vector<uint8_t> state(spk_state_size(made));
    for (int32_t step = 0; step < info.steps; ++step) {
        spk_session* now = sessions[step % 2];
        require(spk_step(now, input.data(), to.data()) == SPK_OK, "a step is refused");
        require(spk_save_state(now, state.data()) == SPK_OK, "a state is not saved");
        require(spk_load_state(sessions[1 - step % 2], state.data(), state.size()) == SPK_OK,
                "a state is not loaded");
    }
    require(answer.outputs == whole, "steps differ from a run");
    return answer;
}

// `form`: of the synapses, another one for each file.
void run(const spk_network* network, const spk_info& info, int64_t height, int64_t width,
         const char* form) {
    spk_options options = SPK_DEFAULTS;
    options.height = int32_t(height);
    options.width = int32_t(width);
    options.threads = 1;
    options.batch = 1 + (info.neurons % 2);
    options.kernels = "reference";
    const auto input = noise(size_t(options.batch) * size_t(info.channels) * size_t(height) *
                             size_t(width));
    const Answer expected = answer_of(network, info, options, input);
    std::istringstream names(spk_kernels());
    for (std::string kernels; names >> kernels;) {
        if (kernels == "reference") continue;
        options.kernels = kernels.c_str();
        options.form = form;
        options.threads = form == nullptr ? 2 : 1;
        const Answer found = answer_of(network, info, options, input);
        // Not every set has every form.
        if (form != nullptr && found.status == SPK_BAD_ARGUMENT) continue;
        require(found.status == expected.status, "kernels refuse what the reference takes");
        require(found.outputs == expected.outputs, "kernels give other outputs");
        require(found.counts == expected.counts, "kernels give other counts");
    }
}

// A small size if the network takes one, else the largest.
void run_small(const Network& network, const spk_network* handle, const spk_info& info,
               const char* form) {
    const auto small = [&](int64_t most) {
        const int64_t side = most < kSmallSide ? most : kSmallSide;
        return (side + info.stride - 1) / info.stride * info.stride;
    };
    int64_t height = small(info.max_height), width = small(info.max_width);
    if (operations(network, height, width) == HUGE_VAL || height > info.max_height ||
        width > info.max_width) {
        height = info.max_height;
        width = info.max_width;
    }
    if (!(operations(network, height, width) <= kMostOperations)) {
        ++fuzzed.too_large;
        return;
    }
    ++fuzzed.run;
    run(handle, info, height, width, form);
}

}  // namespace
}  // namespace spk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
    using namespace spk;
    const std::vector<uint8_t> file = sealed(bytes, size);
    spk_network* opened = nullptr;
    const spk_status status = spk_read(file.data(), file.size(), &opened);
    if (status != SPK_OK) {
        require(file.empty() || status == SPK_DAMAGED || status == SPK_NO_NETWORK ||
                    status == SPK_NEWER,
                "a file is refused for no reason of its own");
        require(spk_last_error()[0] != '\0', "nothing is said");
        ++fuzzed.refused;
        return 0;
    }
    const Handle handle(opened, spk_close);
    spk_info info;
    require(spk_describe(opened, &info) == SPK_OK, "a network is not described");
    spk_card(opened);
    static constexpr const char* forms[] = {nullptr, "dense", "sparse"};
    run_small(read_network(file.data(), file.size()), opened, info, forms[file.size() % 3]);
    return 0;
}
