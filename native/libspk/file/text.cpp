#include "file/text.hpp"

#include <algorithm>
#include <limits>
#include <locale>
#include <sstream>

namespace spk {
namespace {

constexpr size_t kMostQuoted = 200;

// Controls, formats, halves of characters, private use and separators. Code points that no
// version of Unicode had assigned pass, since each knows others.
constexpr uint32_t kUnprintable[][2] = {
    {0x0, 0x1f},         {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},
    {0x61c, 0x61c},      {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},
    {0x8e2, 0x8e2},      {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},
    {0x2028, 0x202f},    {0x205f, 0x206f},   {0x3000, 0x3000},   {0xd800, 0xf8ff},
    {0xfeff, 0xfeff},    {0xfff9, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd},  {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
    {0xe0000, 0xe00ff},  {0xf0000, 0x10ffff},
};

// The next character and its bytes; text is UTF-8, halves of characters allowed.
uint32_t next(std::string_view text, size_t& at) {
    const uint8_t first = uint8_t(text[at++]);
    if (first < 0x80) return first;
    const int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    uint32_t code = first & (0x3fu >> more);
    for (int i = 0; i < more && at < text.size(); ++i)
        code = (code << 6) | (uint8_t(text[at++]) & 0x3fu);
    return code;
}

bool is_printable(uint32_t code) {
    return std::none_of(std::begin(kUnprintable), std::end(kUnprintable), [code](const auto& range) {
        return range[0] <= code && code <= range[1];
    });
}

}  // namespace

bool is_utf8(std::string_view text) {
    static constexpr uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t at = 0; at < text.size();) {
        const uint8_t first = uint8_t(text[at]);
        if (first < 0x80) {
            ++at;
            continue;
        }
        if (first < 0xc2 || first > 0xf4) return false;
        const size_t more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (text.size() - at <= more) return false;
        for (size_t i = 1; i <= more; ++i)
            if ((uint8_t(text[at + i]) & 0xc0) != 0x80) return false;
        const uint32_t code = next(text, at);
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
    }
    return true;
}

void append_utf8(std::string& to, uint32_t code) {
    if (code < 0x80) {
        to.push_back(char(code));
        return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static constexpr uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    to.push_back(char(lead[more] | (code >> (6 * more))));
    for (int i = more - 1; i >= 0; --i) to.push_back(char(0x80 | ((code >> (6 * i)) & 0x3f)));
}

size_t length_of(std::string_view text) {
    return size_t(std::count_if(text.begin(), text.end(),
                                [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

bool is_printable(std::string_view text) {
    for (size_t at = 0; at < text.size();)
        if (!is_printable(next(text, at))) return false;
    return true;
}

std::string shortened(std::string_view text, size_t most) {
    const size_t tail = most / 3, head = most - tail - 3;
    const bool whole = text.size() <= most;
    std::string shown;
    for (size_t at = 0; at < text.size();) {
        if (!whole && shown.size() >= head && at < text.size() - tail) {
            shown += "...";
            at = text.size() - tail;
            // Not to begin within a character.
            while (at < text.size() && (uint8_t(text[at]) & 0xc0) == 0x80) ++at;
            continue;
        }
        const size_t start = at;
        if (is_printable(next(text, at)))
            shown.append(text.substr(start, at - start));
        else
            shown.push_back('?');
    }
    return shown;
}

std::string quoted(std::string_view text) { return "'" + shortened(text, kMostQuoted) + "'"; }

double read_double(const std::string& token) {
    std::istringstream stream(token);
    stream.imbue(std::locale::classic());
    double value = 0;
    stream >> value;
    // A number too large fails with the largest one.
    if (stream.fail() && value > 1) return std::numeric_limits<double>::infinity();
    if (stream.fail() && value < -1) return -std::numeric_limits<double>::infinity();
    return value;
}

std::string to_text(double value) {
    std::ostringstream stream;
    stream.imbue(std::locale::classic());
    stream << value;
    return stream.str();
}

}  // namespace spk
