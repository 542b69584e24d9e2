#include "file/file.hpp"

#include <cstdio>
#include <filesystem>
#include <cstring>
#include <memory>

#include "error.hpp"
#include "file/container.hpp"
#include "file/nodes.hpp"
#include "file/text.hpp"

namespace spk {
namespace {

constexpr size_t kMostShown = 300;

Network read(const FileBytes& file, size_t size, const std::string& name) {
    try {
        Network network = build(unwrap(file, size));
        check_network(network);
        return network;
    } catch (const Error& error) {
        throw Error(error.status, name + " cannot be read: " + error.what());
    }
}

struct Content {
    FileBytes bytes;
    size_t size;
};

Content content_of(const std::string& path, const std::string& name) {
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
    const auto bytes = make_file(size);
    // What became shorter meanwhile is cut off, which its checksum shows.
    return {bytes, std::fread(bytes.get(), 1, size, file.get())};
}

}  // namespace

Network read_network(const uint8_t* bytes, size_t size) {
    const char* name = "the network";
    if (size > kMostFileBytes) return read(nullptr, size, name);
    const auto file = make_file(size);
    if (size != 0) std::memcpy(file.get(), bytes, size);
    return read(file, size, name);
}

Network open_network(const std::string& path) {
    const std::string name = shortened(path, kMostShown);
    const Content content = content_of(path, name);
    return read(content.bytes, content.size, name);
}

}  // namespace spk
