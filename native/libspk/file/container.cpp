#include "file/container.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "file/fault.hpp"
#include "file/json.hpp"
#include "file/sha256.hpp"
#include "file/text.hpp"

namespace spk {
namespace {

constexpr size_t kMostHeaderBytes = size_t(1) << 22;
constexpr std::string_view kDigestKey = "\"sha256\":\"";
constexpr size_t kDigestDigits = 64;
constexpr int64_t kVersion = 1;
constexpr const char* kFormat = "spikesight.spk";
constexpr const char* kMetadata = "__metadata__";

struct Type {
    const char* name;
    size_t size;
};
constexpr Type kTypes[] = {{"U8", 1}, {"I8", 1}, {"I16", 2}, {"I32", 4}, {"I64", 8}, {"F32", 4}};

uint64_t little_endian(const uint8_t* bytes, size_t size) {
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= uint64_t(bytes[i]) << (8 * i);
    return value;
}

const JsonValue* find_string(const JsonDocument& document, const JsonValue& object,
                             std::string_view key) {
    const JsonValue* found = document.find(object, key);
    return found != nullptr && found->kind == JsonKind::string ? found : nullptr;
}

// The digest covers the whole file, with its own digits as zeros.
void check_digest(const uint8_t* bytes, size_t size, std::string_view header) {
    size_t count = 0, found = 0;
    for (size_t at = header.find(kDigestKey); at != std::string_view::npos;
         at = header.find(kDigestKey, at + kDigestKey.size())) {
        found = at + kDigestKey.size();
        ++count;
    }
    if (count != 1 || header.size() - found < kDigestDigits)
        throw_damaged("it has no checksum");
    const size_t at = 8 + found, end = at + kDigestDigits;
    Sha256 checksum;
    checksum.update(bytes, at);
    const std::string zeros(kDigestDigits, '0');
    checksum.update(reinterpret_cast<const uint8_t*>(zeros.data()), zeros.size());
    checksum.update(bytes + end, size - end);
    if (checksum.digest() != header.substr(found, kDigestDigits))
        throw_damaged("its checksum differs: it is damaged or cut off");
}

void check_metadata(const JsonDocument& document, const JsonValue& metadata) {
    bool known = true;
    for (size_t i = 0; i < document.size(metadata); ++i) {
        const JsonMember member = document.member(metadata, i);
        const auto& key = member.key;
        known = known && member.value->kind == JsonKind::string &&
                is_utf8(document.string(*member.value)) &&
                (key == "format" || key == "version" || key == "graph" || key == "sha256" ||
                 key == "card");
    }
    if (!known || document.find(metadata, "graph") == nullptr ||
        document.find(metadata, "sha256") == nullptr)
        throw_unusable("its metadata are " + document.show(&metadata));
}

[[noreturn]] void refuse_tensor(std::string_view name, const char* problem) {
    throw_unusable("it is no valid safetensors file (tensor " + quoted(name) + " " + problem +
                   ")");
}

struct Placed {
    std::string_view name;
    StoredTensor tensor;
    int64_t begin, end;
};

std::vector<int64_t> read_sizes(const JsonDocument& document, const JsonValue* list,
                                std::string_view name) {
    if (list == nullptr || list->kind != JsonKind::array)
        refuse_tensor(name, "has no shape or no offsets");
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < document.size(*list); ++i) {
        const JsonValue& size = document.item(*list, i);
        if (size.kind != JsonKind::integer || !size.fits || document.is_negative(size))
            refuse_tensor(name, "has a size or offset that is none");
        sizes.push_back(size.integer);
    }
    return sizes;
}

Placed read_entry(const JsonDocument& document, const JsonMember& member) {
    const JsonValue& entry = *member.value;
    const JsonValue* type = nullptr;
    if (entry.kind == JsonKind::object) type = find_string(document, entry, "dtype");
    const auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& each) {
        return type != nullptr && document.string(*type) == each.name;
    });
    if (known == std::end(kTypes))
        throw_unusable("tensor " + quoted(member.key) + " has no dtype of a .spk file");
    if (document.size(entry) != 3) refuse_tensor(member.key, "has more than dtype, shape, offsets");
    Placed placed;
    placed.name = member.key;
    placed.tensor.dtype = Dtype(known - std::begin(kTypes));
    placed.tensor.shape = read_sizes(document, document.find(entry, "shape"), member.key);
    const auto offsets = read_sizes(document, document.find(entry, "data_offsets"), member.key);
    if (offsets.size() != 2) refuse_tensor(member.key, "has other offsets than two");
    placed.begin = offsets[0];
    placed.end = offsets[1];
    return placed;
}

// Bytes of a tensor, none where they are more than there are at all.
std::optional<uint64_t> bytes_of(const StoredTensor& tensor) {
    uint64_t bytes = size_of(tensor.dtype);
    for (const int64_t side : tensor.shape) {
        if (side != 0 && bytes > kMostFileBytes / uint64_t(side)) return std::nullopt;
        bytes *= uint64_t(side);
    }
    return bytes;
}

void place_tensors(std::vector<Placed>& all, const uint8_t* data, size_t size,
                   std::map<std::string, StoredTensor>& to) {
    std::sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    int64_t position = 0;
    for (Placed& placed : all) {
        if (placed.begin != position || placed.end < placed.begin || placed.end > int64_t(size))
            refuse_tensor(placed.name, "does not begin where the one before it ends");
        placed.tensor.bytes = data + placed.begin;
        placed.tensor.size = size_t(placed.end - placed.begin);
        if (bytes_of(placed.tensor) != placed.tensor.size)
            refuse_tensor(placed.name, "has other bytes than its shape");
        position = placed.end;
        to.emplace(std::string(placed.name), std::move(placed.tensor));
    }
    if (position != int64_t(size))
        throw_unusable("it is no valid safetensors file (its tensors end before it does)");
}

}  // namespace

size_t size_of(Dtype dtype) { return kTypes[size_t(dtype)].size; }

const char* name_of(Dtype dtype) { return kTypes[size_t(dtype)].name; }

int64_t StoredTensor::integer(size_t index) const {
    switch (dtype) {
        case Dtype::u8: return bytes[index];
        case Dtype::i8: return int8_t(bytes[index]);
        case Dtype::i16: return int16_t(little_endian(bytes + 2 * index, 2));
        case Dtype::i32: return int32_t(little_endian(bytes + 4 * index, 4));
        default: return int64_t(little_endian(bytes + 8 * index, 8));
    }
}

float StoredTensor::real(size_t index) const {
    const uint32_t bits = uint32_t(little_endian(bytes + 4 * index, 4));
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

std::shared_ptr<uint8_t> make_file(size_t size) {
    return {new uint8_t[size], std::default_delete<uint8_t[]>()};
}

Container unwrap(const FileBytes& file, size_t size) {
    const uint8_t* bytes = file.get();
    if (size > kMostFileBytes)
        throw_unusable("it is larger than " + std::to_string(kMostFileBytes) +
                       " bytes, as no .spk file is");
    if (size == 0) throw_damaged("it is empty");
    const uint64_t header_size = size < 8 ? 0 : little_endian(bytes, 8);
    if (size < 8 || header_size > size - 8 || header_size > kMostHeaderBytes)
        throw_damaged("its header is cut off, damaged or not that of a .spk file");
    const std::string_view text(reinterpret_cast<const char*>(bytes) + 8, size_t(header_size));
    std::optional<JsonDocument> parsed;
    try {
        parsed.emplace(text);
    } catch (const JsonError&) {
        throw_damaged("its header is damaged or not that of a .spk file");
    }
    const JsonDocument& header = *parsed;
    const JsonValue* metadata = nullptr;
    if (header.root().kind == JsonKind::object) metadata = header.find(header.root(), kMetadata);
    const JsonValue* format = nullptr;
    if (metadata != nullptr && metadata->kind == JsonKind::object)
        format = find_string(header, *metadata, "format");
    if (format == nullptr || header.string(*format) != kFormat)
        throw_damaged("it is not a .spk file or its header is damaged");
    const JsonValue* version = header.find(*metadata, "version");
    if (version == nullptr || version->kind != JsonKind::string ||
        header.string(*version) != std::to_string(kVersion))
        refuse_version(header, version, kVersion);
    check_digest(bytes, size, text);
    check_metadata(header, *metadata);

    Container container;
    container.file = file;
    container.graph = header.string(*header.find(*metadata, "graph"));
    if (const JsonValue* card = header.find(*metadata, "card"))
        container.card = std::string(header.string(*card));
    std::vector<Placed> placed;
    for (size_t i = 0; i < header.size(header.root()); ++i) {
        const JsonMember member = header.member(header.root(), i);
        if (member.key != kMetadata) placed.push_back(read_entry(header, member));
    }
    place_tensors(placed, bytes + 8 + header_size, size - 8 - size_t(header_size),
                  container.tensors);
    return container;
}

}  // namespace spk
