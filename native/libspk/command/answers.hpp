// What a network said, as text or JSON.
#pragma once

#include <string>
#include <vector>

#include "command/network.hpp"

namespace spk::command {

// Names of the likeliest classes of each input, or what the outputs are.
std::string as_text(const std::vector<Output>& outputs, const std::vector<std::string>& classes);
// Members of a JSON object.
std::string as_json(const std::vector<Output>& outputs, const std::vector<std::string>& classes);
std::string json_text(const std::string& text);

}  // namespace spk::command
