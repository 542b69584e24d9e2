#include "command/photo.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "command/files.hpp"
#include "command/mistake.hpp"

namespace spk::command {

namespace {

constexpr int64_t kMostSide = 1 << 16;
// Of a photo that is longer the middle is taken, before it is enlarged.
constexpr int64_t kThinnest = 16;

// The next number of a header, behind spaces and comments.
int64_t next_number(const std::string& bytes, size_t& at) {
    while (at < bytes.size() && (std::isspace(uint8_t(bytes[at])) || bytes[at] == '#')) {
        if (bytes[at] == '#')
            while (at < bytes.size() && bytes[at] != '\n') at++;
        else
            at++;
    }
    int64_t number = -1;
    for (; at < bytes.size() && std::isdigit(uint8_t(bytes[at])) && number <= kMostSide; at++)
        number = std::max<int64_t>(number, 0) * 10 + (bytes[at] - '0');
    return number;
}

Photo blank(int64_t height, int64_t width, int64_t channels) {
    return {height, width, channels, std::vector<uint8_t>(size_t(height * width * channels))};
}

Photo cropped(const Photo& photo, int64_t height, int64_t width) {
    // Half to even, as Python rounds.
    const int64_t top = std::llrint(double(photo.height - height) / 2);
    const int64_t left = std::llrint(double(photo.width - width) / 2);
    Photo result = blank(height, width, photo.channels);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int64_t channel = 0; channel < photo.channels; channel++)
                result.at(y, x, channel) = photo.at(top + y, left + x, channel);
    return result;
}

// Keys' cubic with a = -1/2.
double cubic(double distance) {
    const double x = std::abs(distance);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
    return 0;
}

struct Window {
    int64_t first;
    std::vector<double> weights;
};

// From which pixels of an axis each new pixel is mixed; wider where the axis shrinks.
std::vector<Window> windows(int64_t from, int64_t to) {
    const double scale = double(from) / double(to), stretch = std::max(scale, 1.0);
    std::vector<Window> result;
    for (int64_t place = 0; place < to; place++) {
        const double centre = (double(place) + 0.5) * scale;
        const int64_t first = std::max<int64_t>(int64_t(centre - 2 * stretch + 0.5), 0);
        const int64_t end = std::min(int64_t(centre + 2 * stretch + 0.5), from);
        Window window{first, {}};
        double total = 0;
        for (int64_t pixel = first; pixel < end; pixel++) {
            window.weights.push_back(cubic((double(pixel) + 0.5 - centre) / stretch));
            total += window.weights.back();
        }
        for (double& weight : window.weights) weight /= total;
        result.push_back(std::move(window));
    }
    return result;
}

uint8_t as_byte(double value) { return uint8_t(std::clamp(std::floor(value + 0.5), 0.0, 255.0)); }

Photo resized(const Photo& photo, int64_t height, int64_t width) {
    Photo wide = blank(photo.height, width, photo.channels);
    const std::vector<Window> columns = windows(photo.width, width);
    for (int64_t y = 0; y < photo.height; y++) {
        for (int64_t x = 0; x < width; x++) {
            const Window& window = columns[size_t(x)];
            for (int64_t channel = 0; channel < photo.channels; channel++) {
                double total = 0;
                for (size_t i = 0; i < window.weights.size(); i++)
                    total += window.weights[i] * photo.at(y, window.first + int64_t(i), channel);
                wide.at(y, x, channel) = as_byte(total);
            }
        }
    }
    Photo result = blank(height, width, photo.channels);
    const std::vector<Window> rows = windows(photo.height, height);
    for (int64_t y = 0; y < height; y++) {
        const Window& window = rows[size_t(y)];
        for (int64_t x = 0; x < width; x++) {
            for (int64_t channel = 0; channel < photo.channels; channel++) {
                double total = 0;
                for (size_t i = 0; i < window.weights.size(); i++)
                    total += window.weights[i] * wide.at(window.first + int64_t(i), x, channel);
                result.at(y, x, channel) = as_byte(total);
            }
        }
    }
    return result;
}

}  // namespace

Photo read_photo(const std::string& path) {
    const std::string bytes = read_file(path);
    const bool begins = bytes.size() > 2 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6');
    require(begins, path + " is no photo of the kind P5 or P6; write one by convert " + path +
                        " photo.ppm");
    size_t at = 2;
    const int64_t channels = bytes[1] == '6' ? 3 : 1;
    const int64_t width = next_number(bytes, at), height = next_number(bytes, at);
    const int64_t largest = next_number(bytes, at);
    const bool has_size = width >= 1 && height >= 1 && width <= kMostSide && height <= kMostSide;
    require(has_size, path + " has no width and height of 1 to " + std::to_string(kMostSide));
    require(largest == 255, path + " does not have 8 bits for each colour");
    const size_t size = size_t(width * height * channels);
    require(bytes.size() > at && bytes.size() - at - 1 >= size, path + " is cut off");
    Photo photo = blank(height, width, channels);
    std::copy_n(bytes.begin() + std::ptrdiff_t(at) + 1, size, photo.bytes.begin());
    return photo;
}

Photo with_channels(const Photo& photo, int64_t channels) {
    if (photo.channels == channels) return photo;
    require(channels == 1 || channels == 3,
            "the network reads " + std::to_string(channels) + " channels; pass numbers, not a photo");
    Photo result = blank(photo.height, photo.width, channels);
    for (int64_t y = 0; y < photo.height; y++) {
        for (int64_t x = 0; x < photo.width; x++) {
            if (channels == 3) {
                for (int64_t channel = 0; channel < 3; channel++)
                    result.at(y, x, channel) = photo.at(y, x, 0);
            } else {
                // ITU-R 601-2, in 16 bits.
                const int64_t grey = 19595 * photo.at(y, x, 0) + 38470 * photo.at(y, x, 1) +
                                     7471 * photo.at(y, x, 2);
                result.at(y, x, 0) = uint8_t((grey + 0x8000) >> 16);
            }
        }
    }
    return result;
}

Photo fitted(const Photo& photo, int64_t side, double crop_fraction) {
    const int64_t shorter = std::llrint(double(side) / crop_fraction);
    const int64_t most = kThinnest * std::min(photo.height, photo.width);
    // Both ends lose the same number of pixels.
    const auto cut = [&](int64_t length) {
        return length <= most ? length : most + (length - most) % 2;
    };
    const Photo thick = cropped(photo, cut(photo.height), cut(photo.width));
    const bool is_wide = thick.width > thick.height;
    const int64_t height = is_wide ? shorter : shorter * thick.height / thick.width;
    const int64_t width = is_wide ? shorter * thick.width / thick.height : shorter;
    const bool has_size = height == thick.height && width == thick.width;
    return cropped(has_size ? thick : resized(thick, height, width), side, side);
}

}  // namespace spk::command
