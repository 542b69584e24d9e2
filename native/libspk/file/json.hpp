// JSON as Python's json module reads it, but each key of an object once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spk {

enum class JsonKind : uint8_t { null, boolean, integer, number, string, array, object };

// A value within a document. 1 is an integer and 1.0 a number, true is neither.
struct JsonValue {
    JsonKind kind = JsonKind::null;
    bool boolean = false;
    bool fits = false;  // an integer, into 64 bits
    // Where it stands in the text.
    uint32_t begin = 0, end = 0;
    union {
        int64_t integer = 0;
        double number;
        struct {
            uint32_t first, count;  // of the document's texts, items or members
        } part;
    };
};

struct JsonMember {
    std::string_view key;
    const JsonValue* value;
};

class JsonDocument {
public:
    // Throws JsonError where the text is none; keeps pointing into it.
    explicit JsonDocument(std::string_view text);

    const JsonValue& root() const { return root_; }
    // Unescaped, in UTF-8; halves of characters as if they were characters.
    std::string_view string(const JsonValue& value) const;
    size_t size(const JsonValue& value) const { return value.part.count; }
    const JsonValue& item(const JsonValue& array, size_t index) const {
        return items_[array.part.first + index];
    }
    JsonMember member(const JsonValue& object, size_t index) const;
    // Null where there is none.
    const JsonValue* find(const JsonValue& object, std::string_view key) const;
    // Of a number: whether it has a sign, as -0 has.
    bool is_negative(const JsonValue& value) const { return text_[value.begin] == '-'; }
    // A few characters of the text of a value, all of them printable.
    std::string show(const JsonValue* value) const;

private:
    friend class JsonParser;
    std::string_view text_;
    std::string strings_;
    std::vector<JsonValue> items_;
    std::vector<JsonValue> keys_and_values_;
    JsonValue root_;
};

class JsonError {};

}  // namespace spk
