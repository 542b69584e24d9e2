// Reads .spk files, one path a line, and prints of each one line of JSON: the status, and what is
// proved of the nodes of the network or why there is none.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>

#include "error.hpp"
#include "file/file.hpp"
#include "file/sha256.hpp"
#include "network/network.hpp"

namespace {

void print(const std::vector<int64_t>& values) {
    std::printf("[");
    for (size_t i = 0; i < values.size(); ++i)
        std::printf(i == 0 ? "%lld" : ",%lld", static_cast<long long>(values[i]));
    std::printf("]");
}

std::string digest_of(const std::vector<int8_t>& weight) {
    spk::Sha256 digest;
    digest.update(reinterpret_cast<const uint8_t*>(weight.data()), weight.size());
    return digest.digest();
}

void print_network(const spk::Network& network) {
    const auto reaches = spk::prove_ranges(network);
    std::printf("{\"status\":0,\"nodes\":[");
    for (size_t i = 0; i < reaches.size(); ++i) {
        const spk::Node& node = network.nodes[i];
        const spk::Shape& shape = reaches[i].shape;
        std::printf("%s{\"low\":", i == 0 ? "" : ",");
        print(reaches[i].interval.low);
        std::printf(",\"high\":");
        print(reaches[i].interval.high);
        std::printf(",\"magnitude\":%lld,\"pixels\":%lld",
                    static_cast<long long>(reaches[i].interval.magnitude),
                    static_cast<long long>(reaches[i].pixels));
        std::printf(",\"shape\":");
        print(shape.is_map ? std::vector<int64_t>{shape.channels, shape.height, shape.width}
                           : std::vector<int64_t>{shape.channels});
        std::printf(",\"fixed\":%s", shape.fixed ? "true" : "false");
        if (const auto* synapse = std::get_if<spk::Synapse>(&node.operation)) {
            const auto& source = reaches[size_t(node.inputs[0])].interval;
            std::printf(",\"sum\":%lld",
                        static_cast<long long>(spk::accumulator(*synapse, source).magnitude));
            std::printf(",\"weight\":\"%s\"", digest_of(synapse->weight()).c_str());
        }
        if (const auto* neuron = std::get_if<spk::Neuron>(&node.operation))
            std::printf(",\"potential\":%lld",
                        static_cast<long long>(
                            spk::potential_of(*neuron, reaches[size_t(node.inputs[0])])));
        std::printf("}");
    }
    std::printf("]}\n");
}

void print_error(const spk::Error& error) {
    std::string text = error.what();
    for (char& c : text)
        if (c == '"' || c == '\\') c = '\'';
    std::printf("{\"status\":%d,\"text\":\"%s\"}\n", int(error.status), text.c_str());
}

}  // namespace

int main() {
    for (std::string path; std::getline(std::cin, path); std::fflush(stdout)) {
        try {
            print_network(spk::open_network(path));
        } catch (const spk::Error& error) {
            print_error(error);
        }
    }
}
