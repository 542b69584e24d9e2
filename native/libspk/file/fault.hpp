// What is wrong with a file, and what to do about it.
#pragma once

#include <string>

#include "error.hpp"
#include "file/json.hpp"

namespace spk {

// The file is not as it was written.
[[noreturn]] void throw_damaged(const std::string& problem);
// The file holds no network that this library could have written.
[[noreturn]] void throw_unusable(const std::string& problem);
// A version that is not the known one is newer, or damage.
[[noreturn]] void refuse_version(const JsonDocument& document, const JsonValue* version,
                                 int64_t known);

}  // namespace spk
