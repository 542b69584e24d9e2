// What is thrown inside the library and becomes a status and a text at its border.
#pragma once

#include <stdexcept>
#include <string>

#include "spk.h"

namespace spk {

class Error : public std::runtime_error {
public:
    Error(spk_status status, const std::string& problem)
        : std::runtime_error(problem), status(status) {}
    const spk_status status;
};

}  // namespace spk
