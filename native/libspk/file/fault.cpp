#include "file/fault.hpp"

#include <algorithm>

namespace spk {
namespace {

constexpr const char* kCopyAgain = "; copy it again from where it came from";
// More are damage.
constexpr size_t kMostDigits = 40;
constexpr size_t kMostDigitsOfText = 58;

// The digits of a version, however it is written; none if it is no such number.
std::string digits_of(const JsonDocument& document, const JsonValue* version) {
    if (version == nullptr) return "";
    const bool text = version->kind == JsonKind::string;
    std::string digits;
    if (text)
        digits = document.string(*version);
    else if (version->kind == JsonKind::integer)
        digits = document.show(version);
    const bool all = std::all_of(digits.begin(), digits.end(),
                                 [](char c) { return c >= '0' && c <= '9'; });
    return all && digits.size() <= (text ? kMostDigitsOfText : kMostDigits) ? digits : "";
}

}  // namespace

void throw_damaged(const std::string& problem) {
    throw Error(SPK_DAMAGED, problem + kCopyAgain);
}

void throw_unusable(const std::string& problem) {
    throw Error(SPK_NO_NETWORK, problem + "; do not use it; save the network again");
}

void refuse_version(const JsonDocument& document, const JsonValue* version, int64_t known) {
    const std::string digits = digits_of(document, version);
    const size_t zeros = std::min(digits.find_first_not_of('0'), digits.size());
    const std::string number = digits.substr(zeros), most = std::to_string(known);
    if (number.size() > most.size() || (number.size() == most.size() && number > most))
        throw Error(SPK_NEWER, "it was written by a newer version of spikesight (format " +
                                   digits + "); upgrade this library");
    throw_damaged("its version is " + document.show(version) + ", which there never was");
}

}  // namespace spk
