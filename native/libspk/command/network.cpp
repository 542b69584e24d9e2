#include "command/network.hpp"

#include "command/mistake.hpp"

namespace spk::command {

void check(spk_status status, const std::string& about) {
    if (status == SPK_OK) return;
    throw Mistake((about.empty() ? "" : about + ": ") + spk_last_error());
}

Network open_network(const std::string& path) {
    spk_network* network = nullptr;
    check(spk_open(path.c_str(), &network), path);
    return Network(network);
}

spk_info info_of(const Network& network) {
    spk_info info;
    check(spk_describe(network.get(), &info), "");
    return info;
}

Session prepare(const Network& network, const Arguments& arguments, int32_t batch, int32_t height,
                int32_t width, bool frames) {
    const auto or_best = [](const std::string& name) {
        return name.empty() ? nullptr : name.c_str();
    };
    spk_options options = SPK_DEFAULTS;
    options.batch = batch;
    options.height = height;
    options.width = width;
    options.frames = frames;
    options.threads = arguments.threads;
    options.kernels = or_best(arguments.kernels);
    options.form = or_best(arguments.form);
    spk_session* session = nullptr;
    check(spk_prepare(network.get(), &options, &session), "");
    return Session(session);
}

std::vector<Output> outputs_of(const Session& session, int32_t count) {
    std::vector<Output> outputs;
    for (int32_t index = 0; index < count; index++) {
        spk_output output;
        check(spk_output_of(session.get(), index, &output), "");
        const std::vector<int64_t> shape(output.shape, output.shape + output.rank);
        int64_t elements = 1;
        for (int64_t side : shape) elements *= side;
        outputs.push_back(
            {output.name, output.scale, shape, std::vector<int32_t>(size_t(elements))});
    }
    return outputs;
}

void run(const Session& session, const std::vector<float>& input, std::vector<Output>& outputs) {
    std::vector<int32_t*> addresses;
    for (Output& output : outputs) addresses.push_back(output.logits.data());
    check(spk_run(session.get(), input.data(), addresses.data()), "");
}

std::vector<NeuronLayer> neurons_of(const Session& session, int32_t count) {
    std::vector<NeuronLayer> neurons;
    for (int32_t index = 0; index < count; index++) {
        spk_neuron neuron;
        check(spk_neuron_of(session.get(), index, &neuron), "");
        neurons.push_back(
            {neuron.name, neuron.levels, {neuron.shape, neuron.shape + neuron.rank}});
    }
    return neurons;
}

}  // namespace spk::command
