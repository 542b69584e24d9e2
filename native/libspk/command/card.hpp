// How inputs are prepared and what classes are called, as a network's card says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spk::command {

struct Card {
    bool says_how = false;  // photos are prepared
    int64_t side = 0;       // of the square that a classifier sees; 0 where photos stay as they are
    double crop_fraction = 1;
    std::vector<double> mean, deviation;  // per channel, of photos in 0..1
    std::vector<std::string> classes;
};

// `text`: JSON, or null.
Card read_card(const char* text);

}  // namespace spk::command
