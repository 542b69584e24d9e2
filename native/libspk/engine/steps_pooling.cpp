// Sums over all pixels and maxima over windows of them.
#include <algorithm>
#include <cstring>

#include "engine/steps.hpp"

namespace spk {
namespace {

class SumOfPixels : public RowsStep {
public:
    explicit SumOfPixels(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          from_(*site.inputs[0]),
          channels_(site.channels) {}

protected:
    size_t spare_integers() const override { return size_t(channels_); }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        const int64_t size = from_.pixels_of_image();
        for (int64_t image = begin; image < end; ++image, rows += stride) {
            std::fill(rows, rows + channels_, 0);
            for (int64_t pixel = image * size; pixel < (image + 1) * size; ++pixel) {
                const int32_t* from = from_.read(pixel, spare);
                for (int32_t c = 0; c < channels_; ++c) rows[c] += from[c];
            }
        }
    }

private:
    const Value& from_;
    int32_t channels_;
};

class Maximum : public RowsStep {
public:
    Maximum(const StepSite& site, int32_t height, int32_t width)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          from_(*site.inputs[0]),
          pool_(std::get<MaxPool>(site.node.operation)),
          channels_(site.channels),
          height_(height),
          width_(width) {}

protected:
    size_t spare_integers() const override { return size_t(channels_); }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int64_t line = pixel / width_, image = line / height_;
            const int64_t top = line % height_ * pool_.stride - pool_.padding;
            const int64_t left = pixel % width_ * pool_.stride - pool_.padding;
            const int64_t bottom = std::min<int64_t>(top + pool_.kernel, from_.height());
            const int64_t right = std::min<int64_t>(left + pool_.kernel, from_.width());
            bool first = true;
            for (int64_t y = std::max<int64_t>(top, 0); y < bottom; ++y) {
                for (int64_t x = std::max<int64_t>(left, 0); x < right; ++x) {
                    const int64_t at = (image * from_.height() + y) * from_.width() + x;
                    const int32_t* from = from_.read(at, spare);
                    if (first) {
                        std::memcpy(rows, from, size_t(channels_) * sizeof(int32_t));
                        first = false;
                        continue;
                    }
                    for (int32_t c = 0; c < channels_; ++c) rows[c] = std::max(rows[c], from[c]);
                }
            }
        }
    }

private:
    const Value& from_;
    MaxPool pool_;
    int32_t channels_, height_, width_;
};

}  // namespace

std::unique_ptr<Step> make_pool(const StepSite& site) {
    return std::make_unique<SumOfPixels>(site);
}

std::unique_ptr<Step> make_max_pool(const StepSite& site) {
    const MaxPool& pool = std::get<MaxPool>(site.node.operation);
    const Value& from = *site.inputs[0];
    const auto along = [&](int32_t side) {
        return (side + 2 * pool.padding - pool.kernel) / pool.stride + 1;
    };
    return std::make_unique<Maximum>(site, along(from.height()), along(from.width()));
}

}  // namespace spk
