#include "command/card.hpp"

#include <string_view>

#include "command/mistake.hpp"
#include "file/json.hpp"

namespace spk::command {

namespace {

constexpr int64_t kMostSide = 1 << 16;
constexpr double kLeastFraction = 1e-3;

bool is_number(const JsonValue* value) {
    return value && (value->kind == JsonKind::integer || value->kind == JsonKind::number);
}

double number_of(const JsonValue& value) {
    return value.kind == JsonKind::integer ? double(value.integer) : value.number;
}

std::vector<double> numbers_of(const JsonDocument& document, const JsonValue* list) {
    std::vector<double> numbers;
    if (!list || list->kind != JsonKind::array) return numbers;
    for (size_t index = 0; index < document.size(*list); index++) {
        const JsonValue& item = document.item(*list, index);
        require(is_number(&item), "the network's card is damaged; save the network again");
        numbers.push_back(number_of(item));
    }
    return numbers;
}

std::vector<std::string> texts_of(const JsonDocument& document, const JsonValue* list) {
    std::vector<std::string> texts;
    if (!list || list->kind != JsonKind::array) return texts;
    for (size_t index = 0; index < document.size(*list); index++) {
        const JsonValue& item = document.item(*list, index);
        if (item.kind == JsonKind::string) texts.emplace_back(document.string(item));
    }
    return texts;
}

Card card_of(const JsonDocument& document) {
    Card card;
    const auto is_object = [](const JsonValue* value) {
        return value && value->kind == JsonKind::object;
    };
    if (!is_object(&document.root())) return card;
    const JsonValue* preparation = document.find(document.root(), "preprocessing");
    if (!is_object(preparation)) return card;
    const auto find = [&](std::string_view key) { return document.find(*preparation, key); };
    card.mean = numbers_of(document, find("mean"));
    card.deviation = numbers_of(document, find("std"));
    card.classes = texts_of(document, find("classes"));
    if (const JsonValue* side = find("image_size"); side && side->kind == JsonKind::integer)
        card.side = side->integer;
    if (const JsonValue* fraction = find("crop_fraction"); is_number(fraction))
        card.crop_fraction = number_of(*fraction);
    card.says_how = !card.mean.empty() && card.mean.size() == card.deviation.size();
    for (double deviation : card.deviation) card.says_how &= deviation > 0;
    card.says_how &= card.side >= 0 && card.side <= kMostSide;
    card.says_how &= card.crop_fraction >= kLeastFraction && card.crop_fraction <= 1;
    return card;
}

}  // namespace

Card read_card(const char* text) {
    if (!text) return {};
    try {
        return card_of(JsonDocument(text));
    } catch (const JsonError&) {
        throw Mistake("the network's card is no JSON; save the network again");
    }
}

}  // namespace spk::command
