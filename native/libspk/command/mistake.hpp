// What the user can mend; ends the command with one line.
#pragma once

#include <stdexcept>
#include <string>

namespace spk::command {

class Mistake : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

inline void require(bool holds, const std::string& problem) {
    if (!holds) throw Mistake(problem);
}

}  // namespace spk::command
