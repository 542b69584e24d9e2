#include "command/input.hpp"

#include <cstring>
#include <random>

#include "command/card.hpp"
#include "command/files.hpp"
#include "command/mistake.hpp"
#include "command/photo.hpp"

namespace spk::command {

namespace {

Input normalised(const Photo& read, const Card& card, const spk_info& info) {
    require(card.says_how,
            "the network does not say how photos are prepared; pass numbers that are normalised");
    require(card.mean.size() == 1 || int64_t(card.mean.size()) == info.channels,
            "the network's card is that of another network; save the network again");
    const Photo photo = with_channels(
        card.side ? fitted(read, card.side, card.crop_fraction) : read, info.channels);
    Input input{1, int32_t(photo.height), int32_t(photo.width), false, {}};
    for (int64_t channel = 0; channel < photo.channels; channel++) {
        const size_t own = card.mean.size() == 1 ? 0 : size_t(channel);
        const float mean = float(card.mean[own]), deviation = float(card.deviation[own]);
        for (int64_t y = 0; y < photo.height; y++)
            for (int64_t x = 0; x < photo.width; x++)
                input.values.push_back(
                    (float(photo.at(y, x, channel)) / 255.0f - mean) / deviation);
    }
    return input;
}

Input shaped(Numbers numbers, const Arguments& arguments, const spk_info& info) {
    const int64_t height = arguments.height ? arguments.height : info.max_height;
    const int64_t width = arguments.width ? arguments.width : info.max_width;
    const std::string& path = arguments.input;
    std::vector<int64_t> shape = numbers.shape;
    const size_t axes = arguments.frames ? 5 : 4;
    if (shape.empty()) {
        const int64_t size = (arguments.frames ? info.steps : 1) * info.channels * height * width;
        const int64_t count = int64_t(numbers.values.size());
        require(count > 0 && count % size == 0,
                path + " does not hold whole inputs of " + std::to_string(height) + "x" +
                    std::to_string(width) + " pixels; pass their --size");
        shape = {count / size, info.channels, height, width};
        if (arguments.frames) shape.insert(shape.begin() + 1, info.steps);
    }
    if (shape.size() == axes - 1) shape.insert(shape.begin(), 1);
    require(shape.size() == axes, path + " is not an image [C, H, W] or images [B, C, H, W]; "
                                         "frames, with --frames, are [T, C, H, W] more");
    require(shape[axes - 3] == info.channels && (!arguments.frames || shape[1] == info.steps),
            path + " holds " + std::to_string(shape[axes - 3]) + " channels" +
                (arguments.frames ? " and " + std::to_string(shape[1]) + " time steps" : "") +
                "; the network takes " + std::to_string(info.channels) +
                (arguments.frames ? " and " + std::to_string(info.steps) : ""));
    return {int32_t(shape[0]), int32_t(shape[axes - 2]), int32_t(shape[axes - 1]),
            arguments.frames, std::move(numbers.values)};
}

Input noise(const Arguments& arguments, const spk_info& info) {
    const int32_t height = arguments.height ? arguments.height : info.max_height;
    const int32_t width = arguments.width ? arguments.width : info.max_width;
    const double size = double(arguments.batch) * (arguments.frames ? info.steps : 1) *
                        info.channels * height * width;
    require(size < double(1 << 28), "the noise is larger than any input; pass a smaller --size");
    Input input{arguments.batch, height, width, arguments.frames, {}};
    input.values.resize(size_t(size));
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    for (float& value : input.values) value = normal(generator);
    return input;
}

}  // namespace

Input read_input(const Arguments& arguments, const Network& network) {
    const spk_info info = info_of(network);
    const std::string& path = arguments.input;
    if (path.empty()) return noise(arguments, info);
    if (ends_with(path, ".ppm") || ends_with(path, ".pgm"))
        return normalised(read_photo(path), read_card(spk_card(network.get())), info);
    return shaped(read_numbers(path), arguments, info);
}

std::vector<std::string> classes_of(const Network& network) {
    return read_card(spk_card(network.get())).classes;
}

}  // namespace spk::command
