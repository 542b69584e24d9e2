// Nodes that only segmenters and detectors have: learned and computed currents, bilinear maps.
#include <algorithm>
#include <cmath>

#include "engine/steps.hpp"

namespace spk {
namespace {

class Constant : public RowsStep {
public:
    // `values`: [pixels of an image][channels]
    Constant(const StepSite& site, std::vector<int32_t> values)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          channels_(site.channels),
          values_(std::move(values)) {}

protected:
    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride, int32_t*) const override {
        const int64_t size = int64_t(values_.size()) / channels_;
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* from = values_.data() + pixel % size * channels_;
            std::copy(from, from + channels_, rows);
        }
    }

private:
    int32_t channels_;
    std::vector<int32_t> values_;
};

// Sines and cosines of the places along a side, [side][features].
std::vector<int32_t> sines(int32_t side, int32_t features, int32_t shift) {
    constexpr double kPi = 3.141592653589793238462643383279502884;
    std::vector<int32_t> values;
    for (int32_t place = 1; place <= side; ++place) {
        for (int32_t feature = 0; feature < features; ++feature) {
            const double exponent = double(feature / 2 * 2) / features;
            const double angle = double(place) / (double(side) + 1e-6) * (2 * kPi) /
                                 std::pow(10000.0, exponent);
            const double wave = feature % 2 ? std::cos(angle) : std::sin(angle);
            values.push_back(int32_t(std::nearbyint(std::ldexp(wave, shift))));
        }
    }
    return values;
}

class Doubling : public RowsStep {
public:
    explicit Doubling(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          from_(*site.inputs[0]),
          like_(*site.inputs[1]),
          channels_(site.channels) {}

protected:
    size_t spare_integers() const override { return 4 * size_t(channels_); }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        const int32_t height = from_.height(), width = from_.width();
        const bool doubles = like_.width() != width || like_.height() != height;
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            if (!doubles) {
                const int32_t* from = from_.read(pixel, spare);
                std::copy(from, from + channels_, rows);
                continue;
            }
            const int64_t line = pixel / like_.width(), image = line / like_.height();
            const int64_t y = line % like_.height(), x = pixel % like_.width();
            const int64_t near_row = y / 2, near_column = x / 2;
            const int64_t far_row =
                std::clamp<int64_t>(near_row + (y % 2 ? 1 : -1), 0, height - 1);
            const int64_t far_column =
                std::clamp<int64_t>(near_column + (x % 2 ? 1 : -1), 0, width - 1);
            const auto read = [&](int64_t row, int64_t column, int32_t place) {
                const int64_t at = (image * height + row) * width + column;
                return from_.read(at, spare + place * channels_);
            };
            const int32_t* a = read(near_row, near_column, 0);
            const int32_t* b = read(near_row, far_column, 1);
            const int32_t* c = read(far_row, near_column, 2);
            const int32_t* d = read(far_row, far_column, 3);
            for (int32_t k = 0; k < channels_; ++k) {
                rows[k] = (9 * a[k] + 3 * (b[k] + c[k]) + d[k] + 8) >> 4;
            }
        }
    }

private:
    const Value &from_, &like_;
    int32_t channels_;
};

class Sampling : public RowsStep {
public:
    explicit Sampling(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          value_(*site.inputs[0]),
          offset_(*site.inputs[1]),
          weight_(*site.inputs[2]),
          sample_(std::get<Sample>(site.node.operation)),
          channels_(site.channels) {}

protected:
    size_t spare_integers() const override {
        return size_t(2 * channels_ + offset_.channels() + weight_.channels());
    }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        const int32_t points = sample_.side * sample_.side;
        const int32_t of_group = channels_ / sample_.groups;
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            int32_t* own = spare + 2 * channels_;
            const int32_t* offset = offset_.read(pixel, own);
            const int32_t* count = weight_.read(pixel, own + offset_.channels());
            std::fill(rows, rows + channels_, 0);
            for (int32_t group = 0; group < sample_.groups; ++group) {
                for (int32_t point = 0; point < points; ++point, ++count, offset += 2) {
                    if (*count == 0) continue;
                    add(pixel, point, offset, *count, group * of_group, of_group, rows, spare);
                }
            }
        }
    }

private:
    // Half up where bits are lost.
    int64_t on_grid(int32_t offset) const {
        const int32_t bits = sample_.position_bits - sample_.offset_shift;
        if (bits >= 0) return int64_t(offset) * (int64_t(1) << bits);
        return (int64_t(offset) + (int64_t(1) << (-bits - 1))) >> -bits;
    }

    void add(int64_t pixel, int32_t point, const int32_t* offset, int32_t count, int32_t first,
             int32_t channels, int32_t* rows, int32_t* spare) const {
        const int32_t bits = sample_.position_bits;
        const int64_t height = value_.height(), width = value_.width();
        const int64_t line = pixel / width, image = line / height;
        const int64_t grid = int64_t(1) << bits;
        const int64_t x = (pixel % width + point / sample_.side - sample_.side / 2) * grid +
                          on_grid(offset[0]);
        const int64_t y = (line % height + point % sample_.side - sample_.side / 2) * grid +
                          on_grid(offset[1]);
        const int64_t left = x >> bits, top = y >> bits;
        const int64_t beside = x - left * grid, below = y - top * grid;
        int32_t* sum = spare + channels_;
        const int32_t half = bits ? int32_t(1) << (2 * bits - 1) : 0;
        std::fill(sum, sum + channels, half);
        for (int32_t corner = 0; corner < 4; ++corner) {
            const int64_t row = top + corner / 2, column = left + corner % 2;
            const int64_t share = (corner / 2 ? below : grid - below) *
                                  (corner % 2 ? beside : grid - beside);
            if (share == 0 || row < 0 || column < 0 || row >= height || column >= width) continue;
            const int32_t* from =
                value_.read((image * height + row) * width + column, spare) + first;
            for (int32_t c = 0; c < channels; ++c) sum[c] += int32_t(share) * from[c];
        }
        for (int32_t c = 0; c < channels; ++c) rows[first + c] += count * (sum[c] >> (2 * bits));
    }

    const Value &value_, &offset_, &weight_;
    Sample sample_;
    int32_t channels_;
};

}  // namespace

std::unique_ptr<Step> make_embedding(const StepSite& site) {
    const Embedding& embedding = std::get<Embedding>(site.node.operation);
    std::vector<int32_t> values;
    for (int32_t query = 0; query < embedding.queries; ++query) {
        for (int32_t c = 0; c < embedding.channels; ++c) {
            values.push_back(embedding.value[size_t(c) * size_t(embedding.queries) + size_t(query)]);
        }
    }
    return std::make_unique<Constant>(site, std::move(values));
}

std::unique_ptr<Step> make_position(const StepSite& site) {
    const Position& position = std::get<Position>(site.node.operation);
    const int32_t features = position.channels / 2;
    const int32_t height = site.inputs[0]->height(), width = site.inputs[0]->width();
    const std::vector<int32_t> rows = sines(height, features, position.shift);
    const std::vector<int32_t> columns = sines(width, features, position.shift);
    std::vector<int32_t> values;
    for (int32_t y = 0; y < height; ++y) {
        for (int32_t x = 0; x < width; ++x) {
            const auto row = rows.begin() + int64_t(y) * features;
            const auto column = columns.begin() + int64_t(x) * features;
            values.insert(values.end(), row, row + features);
            values.insert(values.end(), column, column + features);
        }
    }
    return std::make_unique<Constant>(site, std::move(values));
}

std::unique_ptr<Step> make_resize(const StepSite& site) {
    return std::make_unique<Doubling>(site);
}

std::unique_ptr<Step> make_sample(const StepSite& site) {
    return std::make_unique<Sampling>(site);
}

}  // namespace spk
