#include "file/entry.hpp"

#include <algorithm>

#include "file/fault.hpp"
#include "file/text.hpp"

namespace spk {

Entry::Entry(std::string name, const JsonDocument& document, const JsonValue* value)
    : name(std::move(name)), document_(document), value_(value) {
    if (value == nullptr || value->kind != JsonKind::object)
        throw_unusable(this->name + " is " + document.show(value) + " instead of a JSON object");
}

bool Entry::has(std::string_view field) const { return document_.find(*value_, field) != nullptr; }

const JsonValue* Entry::take(std::string_view field) {
    const JsonValue* found = document_.find(*value_, field);
    if (found != nullptr) taken_.push_back(field);
    return found;
}

void Entry::refuse(std::string_view field, const JsonValue* value,
                   const std::string& expected) const {
    throw_unusable(name + ": " + std::string(field) + " is " + document_.show(value) +
                   " instead of " + expected);
}

int64_t Entry::take_integer(std::string_view field, Limits limits) {
    const JsonValue* value = take(field);
    if (value == nullptr || value->kind != JsonKind::integer) refuse(field, value, "an integer");
    if (!value->fits || value->integer < limits.low || value->integer > limits.high)
        refuse(field, value, std::to_string(limits.low) + " to " + std::to_string(limits.high));
    return value->integer;
}

bool Entry::take_boolean(std::string_view field) {
    const JsonValue* value = take(field);
    if (value == nullptr || value->kind != JsonKind::boolean) refuse(field, value, "true or false");
    return value->boolean;
}

double Entry::take_number(std::string_view field) {
    const JsonValue* value = take(field);
    if (value == nullptr || value->kind != JsonKind::number)
        refuse(field, value, "a number with a point");
    return value->number;
}

std::string Entry::take_string(std::string_view field) {
    const JsonValue* value = take(field);
    if (value == nullptr || value->kind != JsonKind::string) refuse(field, value, "text");
    return std::string(document_.string(*value));
}

size_t Entry::take_choice(std::string_view field,
                          std::initializer_list<std::string_view> choices) {
    const std::string value = take_string(field);
    const auto found = std::find(choices.begin(), choices.end(), value);
    if (found != choices.end()) return size_t(found - choices.begin());
    std::string known;
    for (const std::string_view choice : choices) known += " " + std::string(choice);
    throw_unusable(name + ": " + std::string(field) + " is " + quoted(value) + "; known are" +
                   known);
}

Entry Entry::take_entry(std::string_view field) {
    return Entry(name + ": " + std::string(field), document_, take(field));
}

const JsonValue& Entry::take_list(std::string_view field, size_t most) {
    const JsonValue* value = take(field);
    if (value == nullptr || value->kind != JsonKind::array || document_.size(*value) > most)
        throw_unusable(name + ": " + std::string(field) + " is not a list of at most " +
                       std::to_string(most) + " items");
    return *value;
}

std::vector<int64_t> Entry::take_sizes(std::string_view field, size_t fewest, size_t most,
                                       int64_t largest) {
    const JsonValue& list = take_list(field, most);
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < document_.size(list); ++i) {
        const JsonValue& item = document_.item(list, i);
        const bool integer = item.kind == JsonKind::integer && item.fits;
        sizes.push_back(integer ? item.integer : 0);
    }
    const bool within = std::all_of(sizes.begin(), sizes.end(), [largest](int64_t size) {
        return 1 <= size && size <= largest;
    });
    if (sizes.size() < fewest || !within)
        throw_unusable(name + ": " + std::string(field) + " is " + document_.show(&list) +
                       ", which are no sizes");
    return sizes;
}

void Entry::finish() const {
    std::string unknown;
    for (size_t i = 0; i < document_.size(*value_); ++i) {
        const std::string_view key = document_.member(*value_, i).key;
        if (std::find(taken_.begin(), taken_.end(), key) == taken_.end())
            unknown += (unknown.empty() ? "" : ", ") + std::string(key);
    }
    if (has_more()) throw_unusable(name + " has the unknown fields " + quoted(unknown));
}

NodeTensors::NodeTensors(std::string node, Entry shapes, Tensors& left)
    : node_(std::move(node)), shapes_(std::move(shapes)), left_(left) {}

std::vector<int64_t> NodeTensors::take_shape(std::string_view field, size_t fewest, size_t most) {
    return shapes_.take_sizes(field, fewest, most, kChannels.high);
}

void NodeTensors::refuse(const std::string& problem) const {
    throw_unusable(quoted(node_) + ": " + problem);
}

StoredTensor NodeTensors::take(std::string_view field, const std::vector<int64_t>& shape,
                               Kind kind) {
    const auto found = left_.find(node_ + "." + std::string(field));
    if (found == left_.end()) refuse("the tensor " + std::string(field) + " is missing");
    StoredTensor tensor = std::move(found->second);
    left_.erase(found);
    const Dtype dtype = tensor.dtype;
    const bool fits = kind == Kind::reals   ? dtype == Dtype::f32
                      : kind == Kind::bytes ? dtype == Dtype::u8
                                            : dtype != Dtype::f32 && dtype != Dtype::u8;
    if (tensor.shape != shape || !fits) {
        const char* expected = kind == Kind::reals   ? "F32"
                               : kind == Kind::bytes ? "U8"
                                                     : "signed integers";
        refuse(std::string(field) + " is " + show_sizes(tensor.shape) + " of " + name_of(dtype) +
               " instead of " + show_sizes(shape) + " of " + expected);
    }
    return tensor;
}

template <class Integer>
std::vector<Integer> NodeTensors::take_integers(std::string_view field,
                                                const std::vector<int64_t>& shape,
                                                Limits limits) {
    const StoredTensor tensor = take(field, shape, Kind::integers);
    std::vector<Integer> values(tensor.elements());
    int64_t lowest = limits.high, highest = limits.low;
    for (size_t i = 0; i < values.size(); ++i) {
        const int64_t value = tensor.integer(i);
        lowest = std::min(lowest, value);
        highest = std::max(highest, value);
        values[i] = Integer(value);
    }
    if (lowest < limits.low || highest > limits.high)
        refuse(std::string(field) + " has values outside of " + std::to_string(limits.low) +
               " to " + std::to_string(limits.high));
    return values;
}

template std::vector<int32_t> NodeTensors::take_integers(std::string_view,
                                                         const std::vector<int64_t>&, Limits);
template std::vector<int64_t> NodeTensors::take_integers(std::string_view,
                                                         const std::vector<int64_t>&, Limits);

std::vector<float> NodeTensors::take_reals(std::string_view field,
                                           const std::vector<int64_t>& shape) {
    const StoredTensor tensor = take(field, shape, Kind::reals);
    std::vector<float> values(tensor.elements());
    for (size_t i = 0; i < values.size(); ++i) values[i] = tensor.real(i);
    return values;
}

StoredTensor NodeTensors::take_bytes(std::string_view field, const std::vector<int64_t>& shape) {
    return take(field, shape, Kind::bytes);
}

std::string show_sizes(const std::vector<int64_t>& sizes) {
    std::string text;
    for (const int64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
    return "[" + shortened(text, 60) + "]";
}

}  // namespace spk
