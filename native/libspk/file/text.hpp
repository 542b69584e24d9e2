// Text from files: UTF-8, and what of it may be shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spk {

bool is_utf8(std::string_view text);
void append_utf8(std::string& to, uint32_t code);
// Characters of text in UTF-8.
size_t length_of(std::string_view text);
// Whether a terminal shows each character as itself; a space is no other than ' '.
bool is_printable(std::string_view text);
// Printable text of at most so many bytes, the middle of longer ones left out.
std::string shortened(std::string_view text, size_t most);
// The same in quotes.
std::string quoted(std::string_view text);
// In the C locale, whatever the program's is; infinity beyond the largest.
double read_double(const std::string& token);
std::string to_text(double value);

}  // namespace spk
