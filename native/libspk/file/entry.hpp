// A JSON object that is read field by field, and the tensors of a node.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "file/container.hpp"
#include "file/json.hpp"
#include "file/limits.hpp"

namespace spk {

class Entry {
public:
    // Throws Error unless the value is an object.
    Entry(std::string name, const JsonDocument& document, const JsonValue* value);

    std::string name;  // in messages

    bool has(std::string_view field) const;
    // Whether a field was not taken yet.
    bool has_more() const { return taken_.size() < document_.size(*value_); }
    int64_t take_integer(std::string_view field, Limits limits);
    bool take_boolean(std::string_view field);
    double take_number(std::string_view field);
    std::string take_string(std::string_view field);
    // Its place among the choices.
    size_t take_choice(std::string_view field, std::initializer_list<std::string_view> choices);
    Entry take_entry(std::string_view field);
    // A list of at most so many items.
    const JsonValue& take_list(std::string_view field, size_t most);
    std::vector<int64_t> take_sizes(std::string_view field, size_t fewest, size_t most,
                                    int64_t largest);
    // Throws Error if a field is left over.
    void finish() const;
    [[noreturn]] void refuse(std::string_view field, const JsonValue* value,
                             const std::string& expected) const;

    const JsonDocument& document() const { return document_; }

private:
    const JsonValue* take(std::string_view field);

    const JsonDocument& document_;
    const JsonValue* value_;
    std::vector<std::string_view> taken_;
};

// Tensors by name that no node has taken yet.
using Tensors = std::map<std::string, StoredTensor>;

class NodeTensors {
public:
    NodeTensors(std::string node, Entry shapes, Tensors& left);

    Entry& shapes() { return shapes_; }
    std::vector<int64_t> take_shape(std::string_view field, size_t fewest, size_t most);
    template <class Integer>
    std::vector<Integer> take_integers(std::string_view field, const std::vector<int64_t>& shape,
                                       Limits limits);
    std::vector<float> take_reals(std::string_view field, const std::vector<int64_t>& shape);
    StoredTensor take_bytes(std::string_view field, const std::vector<int64_t>& shape);
    [[noreturn]] void refuse(const std::string& problem) const;

private:
    enum class Kind { integers, reals, bytes };
    StoredTensor take(std::string_view field, const std::vector<int64_t>& shape, Kind kind);

    std::string node_;
    Entry shapes_;
    Tensors& left_;
};

std::string show_sizes(const std::vector<int64_t>& sizes);

}  // namespace spk
