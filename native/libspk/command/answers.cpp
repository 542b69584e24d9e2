#include "command/answers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace spk::command {

namespace {

constexpr size_t kGuesses = 5;

template <typename Numbers>
std::string list_of(const Numbers& numbers) {
    std::string text = "[";
    for (const auto& number : numbers)
        text += (text.size() > 1 ? "," : "") + std::to_string(number);
    return text + "]";
}

std::string guesses(const int32_t* logits, size_t count, double scale,
                    const std::vector<std::string>& classes) {
    const int32_t most = *std::max_element(logits, logits + count);
    double total = 0;
    for (size_t i = 0; i < count; i++) total += std::exp(scale * (double(logits[i]) - most));
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), size_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    std::string text;
    for (size_t rank = 0; rank < std::min(kGuesses, count); rank++) {
        const size_t index = order[rank];
        char line[64];
        std::snprintf(line, sizeof line, "%6.1f %%  ",
                      100 * std::exp(scale * (double(logits[index]) - most)) / total);
        text += line + (index < classes.size() ? classes[index] : std::to_string(index)) + "\n";
    }
    return text;
}

}  // namespace

std::string as_text(const std::vector<Output>& outputs, const std::vector<std::string>& classes) {
    std::string text;
    const Output& first = outputs.front();
    if (outputs.size() == 1 && first.shape.size() == 2) {
        const size_t count = size_t(first.shape[1]);
        for (int64_t sample = 0; sample < first.shape[0]; sample++)
            text += (sample ? "\n" : "") +
                    guesses(first.logits.data() + size_t(sample) * count, count, first.scale,
                            classes);
        return text;
    }
    for (const Output& output : outputs) {
        const auto [low, high] = std::minmax_element(output.logits.begin(), output.logits.end());
        text += output.name + " " + list_of(output.shape) + ": " + std::to_string(*low) + " to " +
                std::to_string(*high) + "\n";
    }
    return text + "--json gives all of them\n";
}

std::string as_json(const std::vector<Output>& outputs, const std::vector<std::string>& classes) {
    std::string text = "\"outputs\":[";
    for (const Output& output : outputs) {
        char scale[40];
        std::snprintf(scale, sizeof scale, "%.17g", output.scale);
        text += (text.back() == '[' ? "{\"name\":" : ",{\"name\":") + json_text(output.name) +
                ",\"scale\":" + scale + ",\"shape\":" + list_of(output.shape) +
                ",\"logits\":" + list_of(output.logits) + "}";
    }
    text += "],\"classes\":[";
    for (const std::string& name : classes)
        text += (text.back() == '[' ? "" : ",") + json_text(name);
    return text + "]";
}

std::string json_text(const std::string& text) {
    std::string result = "\"";
    for (char character : text) {
        if (character == '"' || character == '\\') {
            result += {'\\', character};
        } else if (uint8_t(character) < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof escape, "\\u%04x", unsigned(uint8_t(character)));
            result += escape;
        } else {
            result += character;
        }
    }
    return result + "\"";
}

}  // namespace spk::command
