#include "file/file.hpp"

#include <cstdio>
#include <filesystem>
#include <memory>
#include <vector>

#include "error.hpp"
#include "file/container.hpp"
#include "file/nodes.hpp"
#include "file/text.hpp"

namespace spk {
namespace {

constexpr size_t kMostShown = 300;

Network read(const uint8_t* bytes, size_t size, const std::string& name) {
    try {
        Network network = build(unwrap(bytes, size));
        check_network(network);
        return network;
    } catch (const Error& error) {
        throw Error(error.status, name + " cannot be read: " + error.what());
    }
}

std::vector<uint8_t> content_of(const std::string& path, const std::string& name) {
    std::error_code problem;
    const auto status = std::filesystem::status(path, problem);
    if (!std::filesystem::exists(status))
        throw Error(SPK_NO_FILE, name + " is missing; pass the path of a .spk file");
    if (!std::filesystem::is_regular_file(status))
        throw Error(SPK_NO_FILE,
                    name + " cannot be read: it is not a file; pass the path of a .spk file");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                               std::fclose);
    const auto size = std::filesystem::file_size(path, problem);
    if (file == nullptr || problem)
        throw Error(SPK_NO_FILE, name + " cannot be read; check that it may be read");
    if (size > kMostFileBytes)
        throw Error(SPK_NO_NETWORK, name + " cannot be read: it is larger than " +
                                        std::to_string(kMostFileBytes) +
                                        " bytes, as no .spk file is");
    std::vector<uint8_t> content(size);
    // What became shorter meanwhile is cut off, which its checksum shows.
    content.resize(std::fread(content.data(), 1, content.size(), file.get()));
    return content;
}

}  // namespace

Network read_network(const uint8_t* bytes, size_t size) {
    return read(bytes, size, "the network");
}

Network open_network(const std::string& path) {
    const std::string name = shortened(path, kMostShown);
    const std::vector<uint8_t> content = content_of(path, name);
    return read(content.data(), content.size(), name);
}

}  // namespace spk
