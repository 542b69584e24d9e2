// A safetensors file with the metadata and the checksum of a .spk file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace spk {

enum class Dtype { u8, i8, i16, i32, i64, f32 };

size_t size_of(Dtype dtype);
const char* name_of(Dtype dtype);

// A tensor as it lies in the file, little-endian.
struct StoredTensor {
    Dtype dtype;
    std::vector<int64_t> shape;
    const uint8_t* bytes;
    size_t size;  // in bytes

    int64_t integer(size_t index) const;
    float real(size_t index) const;
    size_t elements() const { return size / size_of(dtype); }
};

constexpr size_t kMostFileBytes = size_t(1) << 30;

// The bytes of a file; what is read from it may keep it.
using FileBytes = std::shared_ptr<const uint8_t>;

// With `size` bytes that are to be written.
std::shared_ptr<uint8_t> make_file(size_t size);

struct Container {
    FileBytes file;
    std::string graph;  // JSON
    std::optional<std::string> card;
    std::map<std::string, StoredTensor> tensors;
};

// Throws Error unless the file is whole and its tensors lie in it without gaps. What is returned
// points into the bytes.
Container unwrap(const FileBytes& file, size_t size);

}  // namespace spk
