#include "command/golden.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <map>
#include <sstream>

#include "command/files.hpp"
#include "command/mistake.hpp"
#include "error.hpp"
#include "file/file.hpp"
#include "network/network.hpp"

namespace spk::command {

namespace {

// One line per pixel with its channels; lines follow by column, row, time step and input.
struct Vectors {
    int64_t inputs = 0, steps = 0, height = 0, width = 0, channels = 0;
    std::vector<int32_t> values;

    int64_t elements() const { return height * width * channels; }
};

// How many bits an integer of the file has; negative where it has a sign.
int32_t bits_of(const std::string& type) {
    for (int32_t bits : {8, 16, 32}) {
        if (type == "int" + std::to_string(bits) + "_t") return -bits;
        if (type == "uint" + std::to_string(bits) + "_t") return bits;
    }
    return 0;
}

// "// layer 3 of network 0123: name, 2 inputs x 1 time steps of uint8_t [8][8][16]"
int32_t read_head(const std::string& path, const std::string& line, Vectors& vectors) {
    std::istringstream words(line.substr(std::min(line.size(), line.rfind(", ") + 1)));
    std::string inputs, cross, time, steps, of, type;
    char bracket;
    words >> vectors.inputs >> inputs >> cross >> vectors.steps >> time >> steps >> of >> type;
    words >> bracket >> vectors.height >> bracket >> bracket >> vectors.width >> bracket >>
        bracket >> vectors.channels;
    const int32_t bits = bits_of(type);
    bool sound = words && line.rfind("//", 0) == 0 && bits != 0;
    int64_t room = int64_t(1) << 30;
    for (int64_t side :
         {vectors.inputs, vectors.steps, vectors.height, vectors.width, vectors.channels}) {
        sound = sound && side >= 1 && side <= room;
        room /= std::max<int64_t>(side, 1);
    }
    require(sound, path + " is no file of golden vectors");
    return bits;
}

Vectors read_vectors(const std::string& path) {
    const std::string text = read_file(path);
    const size_t end = text.find('\n');
    Vectors vectors;
    const int32_t bits = read_head(path, text.substr(0, end), vectors);
    const uint32_t half = uint32_t(1) << (std::abs(bits) - 1);
    std::istringstream words(text.substr(end == std::string::npos ? text.size() : end));
    for (std::string word; words >> word;) {
        require(word.size() <= 8 && std::all_of(word.begin(), word.end(), [](char digit) {
                    return std::isxdigit(uint8_t(digit));
                }),
                path + " holds something else than hexadecimal digits");
        const uint32_t digits = uint32_t(std::stoul(word, nullptr, 16));
        const bool negative = bits < 0 && digits >= half;
        vectors.values.push_back(
            int32_t(int64_t(digits) - (negative ? int64_t(half) * 2 : 0)));
    }
    require(int64_t(vectors.values.size()) ==
                vectors.inputs * vectors.steps * vectors.elements(),
            path + " is cut off or too long");
    return vectors;
}

// The files of a folder by the numbers that they begin with.
std::map<int32_t, std::string> files_of(const std::string& folder) {
    std::map<int32_t, std::string> files;
    std::error_code fault;
    for (const auto& entry : std::filesystem::directory_iterator(folder, fault)) {
        const std::string name = entry.path().filename().string();
        if (name.size() > 4 && ends_with(name, ".hex") && std::isdigit(uint8_t(name[0])))
            files[std::atoi(name.c_str())] = entry.path().string();
    }
    require(!fault && files.count(0), folder + " is no folder of golden vectors; net.export(" +
                                          "\"net.c\") writes one");
    return files;
}

// A layer's vectors, and where the next step of the run stands in them.
struct Expected {
    Vectors vectors;
    int64_t at = 0;
    GoldenLayer result;

    // `values`: [channels][pixels].
    template <typename Value>
    void compare(const Value* values, int64_t channels, int64_t pixels) {
        for (int64_t pixel = 0; pixel < pixels; pixel++)
            for (int64_t channel = 0; channel < channels; channel++)
                result.differing += int64_t(values[channel * pixels + pixel]) !=
                                    vectors.values[size_t(at + pixel * channels + channel)];
        at += channels * pixels;
        result.compared += channels * pixels;
    }
};

struct Comparison {
    std::vector<Expected> neurons, outputs;
};

Expected expected_of(const std::map<int32_t, std::string>& files, int32_t index,
                     const std::string& name, int64_t elements, int64_t steps, int64_t inputs) {
    const auto file = files.find(index);
    require(file != files.end(), "there are no golden vectors of " + name);
    Expected expected{read_vectors(file->second), 0, {name, 0, 0}};
    require(expected.vectors.elements() == elements && expected.vectors.steps == steps &&
                expected.vectors.inputs == inputs,
            file->second + " is that of another network or size");
    return expected;
}

// [inputs][steps][height][width][channels] as floats that round to them, input by input
// [steps][channels][height][width].
std::vector<float> floats_of(const Vectors& image, int64_t input, int32_t shift) {
    std::vector<float> values;
    for (int64_t step = 0; step < image.steps; step++) {
        const int32_t* from =
            image.values.data() + (input * image.steps + step) * image.elements();
        for (int64_t channel = 0; channel < image.channels; channel++)
            for (int64_t pixel = 0; pixel < image.height * image.width; pixel++)
                values.push_back(
                    std::ldexp(float(from[pixel * image.channels + channel]), -shift));
    }
    return values;
}

}  // namespace

std::vector<GoldenLayer> compare_with_golden(const Arguments& arguments, const Network& handle) {
    const std::map<int32_t, std::string> files = files_of(arguments.golden);
    const Vectors image = read_vectors(files.at(0));
    const spk_info info = info_of(handle);
    const spk::Network network = spk::open_network(arguments.network);
    require(image.channels == info.channels && (image.steps == 1 || image.steps == info.steps),
            files.at(0) + " is that of another network");
    const Session session = prepare(handle, arguments, 1, int32_t(image.height),
                                    int32_t(image.width), image.steps > 1);
    std::vector<Output> outputs = outputs_of(session, info.outputs);
    const std::vector<NeuronLayer> neurons = neurons_of(session, info.neurons);
    Comparison comparison;
    for (size_t index = 0; index < network.nodes.size(); index++) {
        const spk::Node& node = network.nodes[index];
        int64_t elements = 1;
        if (std::holds_alternative<spk::Neuron>(node.operation)) {
            for (int64_t side : neurons[comparison.neurons.size()].shape) elements *= side;
            comparison.neurons.push_back(expected_of(files, int32_t(index), node.name, elements,
                                                     info.steps, image.inputs));
        } else if (std::holds_alternative<spk::Output>(node.operation)) {
            elements = int64_t(outputs[comparison.outputs.size()].logits.size());
            comparison.outputs.push_back(
                expected_of(files, int32_t(index), node.name, elements, 1, image.inputs));
        }
    }
    const spk_observer observer = [](void* context, int32_t neuron, int32_t, const uint8_t* counts,
                                     size_t size) {
        Expected& expected = static_cast<Comparison*>(context)->neurons[size_t(neuron)];
        const int64_t channels = expected.vectors.channels;
        expected.compare(counts, channels, int64_t(size) / channels);
    };
    check(spk_observe(session.get(), observer, &comparison), "");
    for (int64_t input = 0; input < image.inputs; input++) {
        run(session, floats_of(image, input, network.input().shift), outputs);
        for (size_t i = 0; i < outputs.size(); i++) {
            const Output& output = outputs[i];
            // [B, Q, K] has a line per query, as it lies.
            const bool lies_so = output.shape.size() == 3;
            const int64_t channels = lies_so ? int64_t(output.logits.size()) : output.shape[1];
            comparison.outputs[i].compare(output.logits.data(), channels,
                                          int64_t(output.logits.size()) / channels);
        }
    }
    std::vector<GoldenLayer> results;
    for (const auto* layers : {&comparison.neurons, &comparison.outputs})
        for (const Expected& expected : *layers) results.push_back(expected.result);
    return results;
}

}  // namespace spk::command
