#include "file/json.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "file/text.hpp"

namespace spk {
namespace {

constexpr int kDeepest = 500;
// As of Python's int().
constexpr size_t kMostDigits = 4300;
constexpr size_t kMostShown = 60;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

class JsonParser {
public:
    explicit JsonParser(JsonDocument& document) : document_(document), text_(document.text_) {
        if (text_.size() >= std::numeric_limits<uint32_t>::max() || !is_utf8(text_))
            throw JsonError();
        skip_space();
        document_.root_ = read_value(0);
        skip_space();
        require(at_ == text_.size());
    }

private:
    static void require(bool holds) {
        if (!holds) throw JsonError();
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    void skip_space() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' ||
                                      text_[at_] == '\n' || text_[at_] == '\r'))
            ++at_;
    }
    bool take(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    JsonValue read_value(int depth) {
        require(depth < kDeepest);
        JsonValue value;
        value.begin = uint32_t(at_);
        switch (peek()) {
            case '{': read_object(value, depth); break;
            case '[': read_array(value, depth); break;
            case '"': read_string(value); break;
            case 'n': require(take("null")); break;
            case 't':
            case 'f':
                value.kind = JsonKind::boolean;
                value.boolean = take("true");
                require(value.boolean || take("false"));
                break;
            default: read_number(value);
        }
        value.end = uint32_t(at_);
        return value;
    }

    void read_array(JsonValue& value, int depth) {
        const size_t start = open_.size();
        ++at_;
        skip_space();
        if (!take("]")) {
            do {
                skip_space();
                open_.push_back(read_value(depth + 1));
                skip_space();
            } while (take(","));
            require(take("]"));
        }
        close(value, JsonKind::array, document_.items_, start, open_.size() - start);
    }

    void read_object(JsonValue& value, int depth) {
        const size_t start = open_.size();
        ++at_;
        skip_space();
        if (!take("}")) {
            do {
                skip_space();
                JsonValue key;
                require(peek() == '"');
                read_string(key);
                open_.push_back(key);
                skip_space();
                require(take(":"));
                skip_space();
                open_.push_back(read_value(depth + 1));
                skip_space();
            } while (take(","));
            require(take("}"));
        }
        const size_t count = (open_.size() - start) / 2;
        close(value, JsonKind::object, document_.keys_and_values_, start, count);
        require_distinct(value);
    }

    void close(JsonValue& value, JsonKind kind, std::vector<JsonValue>& to, size_t start,
               size_t count) {
        value.kind = kind;
        value.part = {uint32_t(to.size()), uint32_t(count)};
        to.insert(to.end(), open_.begin() + ptrdiff_t(start), open_.end());
        open_.resize(start);
    }

    void require_distinct(const JsonValue& object) {
        std::vector<std::string_view> keys;
        keys.reserve(object.part.count);
        for (size_t i = 0; i < object.part.count; ++i)
            keys.push_back(document_.member(object, i).key);
        std::sort(keys.begin(), keys.end());
        require(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
    }

    void read_string(JsonValue& value) {
        std::string& to = document_.strings_;
        value.kind = JsonKind::string;
        const size_t first = to.size();
        ++at_;
        for (;;) {
            const size_t run = at_;
            while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
                   uint8_t(text_[at_]) >= 0x20)
                ++at_;
            to.append(text_.substr(run, at_ - run));
            if (take("\"")) break;
            require(take("\\"));
            read_escape(to);
        }
        value.part = {uint32_t(first), uint32_t(to.size() - first)};
    }

    void read_escape(std::string& to) {
        const char letter = peek();
        require(at_++ < text_.size());
        switch (letter) {
            case '"':
            case '\\':
            case '/': to.push_back(letter); return;
            case 'b': to.push_back('\b'); return;
            case 'f': to.push_back('\f'); return;
            case 'n': to.push_back('\n'); return;
            case 'r': to.push_back('\r'); return;
            case 't': to.push_back('\t'); return;
            case 'u': break;
            default: throw JsonError();
        }
        uint32_t code = read_hexadecimal();
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
            const size_t before = at_;
            at_ += 2;
            const uint32_t low = read_hexadecimal();
            if (low >= 0xDC00 && low < 0xE000)
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            else
                at_ = before;
        }
        append_utf8(to, code);
    }

    uint32_t read_hexadecimal() {
        uint32_t code = 0;
        for (int i = 0; i < 4; ++i) {
            const char c = peek();
            require(at_++ < text_.size());
            if (is_digit(c))
                code = code * 16 + uint32_t(c - '0');
            else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
                code = code * 16 + uint32_t((c | 0x20) - 'a' + 10);
            else
                throw JsonError();
        }
        return code;
    }

    void read_number(JsonValue& value) {
        value.kind = JsonKind::number;
        if (take("NaN")) {
            value.number = std::numeric_limits<double>::quiet_NaN();
            return;
        }
        const size_t start = at_;
        const bool negative = take("-");
        if (take("Infinity")) {
            value.number = std::numeric_limits<double>::infinity() * (negative ? -1 : 1);
            return;
        }
        const size_t digits = at_;
        if (!take("0")) skip_digits();
        const size_t after = at_;
        bool whole = true;
        if (take(".")) {
            whole = false;
            skip_digits();
        }
        if (take("e") || take("E")) {
            whole = false;
            if (!take("+")) take("-");
            skip_digits();
        }
        const std::string token(text_.substr(start, at_ - start));
        if (!whole) {
            value.number = read_double(token);
            return;
        }
        require(after - digits <= kMostDigits);
        value.kind = JsonKind::integer;
        value.fits = true;
        uint64_t magnitude = 0;
        const uint64_t most = uint64_t(std::numeric_limits<int64_t>::max()) + (negative ? 1 : 0);
        for (const char c : text_.substr(digits, after - digits)) {
            const uint64_t digit = uint64_t(c - '0');
            value.fits = value.fits && magnitude <= (most - digit) / 10;
            magnitude = magnitude * 10 + digit;
        }
        value.integer = value.fits ? int64_t(negative ? 0 - magnitude : magnitude) : 0;
    }

    void skip_digits() {
        require(is_digit(peek()));
        while (is_digit(peek())) ++at_;
    }

    JsonDocument& document_;
    const std::string_view text_;
    size_t at_ = 0;
    // Items and members of arrays and objects that have not ended.
    std::vector<JsonValue> open_;
};

JsonDocument::JsonDocument(std::string_view text) : text_(text) { JsonParser parser(*this); }

std::string_view JsonDocument::string(const JsonValue& value) const {
    return std::string_view(strings_).substr(value.part.first, value.part.count);
}

JsonMember JsonDocument::member(const JsonValue& object, size_t index) const {
    const JsonValue* key = &keys_and_values_[object.part.first + 2 * index];
    return {string(*key), key + 1};
}

const JsonValue* JsonDocument::find(const JsonValue& object, std::string_view key) const {
    for (size_t i = 0; i < object.part.count; ++i) {
        const JsonMember found = member(object, i);
        if (found.key == key) return found.value;
    }
    return nullptr;
}

std::string JsonDocument::show(const JsonValue* value) const {
    if (value == nullptr) return "missing";
    return shortened(text_.substr(value->begin, value->end - value->begin), kMostShown);
}

}  // namespace spk
