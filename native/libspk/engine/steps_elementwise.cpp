// Nodes whose pixels depend on the same pixel of what they read.
#include <cstring>

#include "engine/steps.hpp"

namespace spk {
namespace {

// Of a pixel of the result; of an input with one pixel per image, the image's.
int64_t pixel_of(const Value& value, int64_t pixel, int64_t pixels_of_image) {
    return value.pixels_of_image() == pixels_of_image ? pixel : pixel / pixels_of_image;
}

class Elementwise : public RowsStep {
public:
    explicit Elementwise(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          inputs_(site.inputs),
          channels_(site.channels) {
        for (const Value* input : inputs_) {
            if (input->pixels_of_image() > of_image_) of_image_ = input->pixels_of_image();
        }
    }

protected:
    size_t spare_integers() const override {
        size_t most = 0;
        for (const Value* input : inputs_) most += size_t(round_up(input->channels(), 16));
        return most;
    }
    const int32_t* read(size_t input, int64_t pixel, int32_t* spare) const {
        const Value& value = *inputs_[input];
        int32_t* own = spare + (input ? round_up(inputs_[0]->channels(), 16) : 0);
        return value.read(pixel_of(value, pixel, of_image_), own);
    }

    std::vector<const Value*> inputs_;
    int32_t channels_;
    int64_t of_image_ = 1;
};

class Copy : public Elementwise {
public:
    using Elementwise::Elementwise;

protected:
    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* from = read(0, pixel, spare);
            std::memcpy(rows, from, size_t(channels_) * sizeof(int32_t));
        }
    }
};

class Sum : public Elementwise {
public:
    using Elementwise::Elementwise;

protected:
    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* a = read(0, pixel, spare);
            const int32_t* b = read(1, pixel, spare);
            for (int32_t c = 0; c < channels_; ++c) rows[c] = a[c] + b[c];
        }
    }
};

class Product : public Elementwise {
public:
    explicit Product(const StepSite& site)
        : Elementwise(site), each_(site.channels / inputs_[1]->channels()) {}

protected:
    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* gated = read(0, pixel, spare);
            const int32_t* by = read(1, pixel, spare);
            for (int32_t c = 0; c < channels_; ++c) rows[c] = gated[c] * by[c / each_];
        }
    }

private:
    int32_t each_;  // channels of each gate
};

class SumOfHeads : public Elementwise {
public:
    explicit SumOfHeads(const StepSite& site)
        : Elementwise(site), each_(inputs_[0]->channels() / site.channels) {}

protected:
    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* from = read(0, pixel, spare);
            for (int32_t head = 0; head < channels_; ++head) {
                int32_t sum = 0;
                for (int32_t c = 0; c < each_; ++c) sum += *from++;
                rows[head] = sum;
            }
        }
    }

private:
    int32_t each_;  // channels of each head
};

}  // namespace

std::unique_ptr<Step> make_copy(const StepSite& site) { return std::make_unique<Copy>(site); }

std::unique_ptr<Step> make_add(const StepSite& site) { return std::make_unique<Sum>(site); }

std::unique_ptr<Step> make_gate(const StepSite& site) { return std::make_unique<Product>(site); }

std::unique_ptr<Step> make_spike_sum(const StepSite& site) {
    const SpikeSum& sum = std::get<SpikeSum>(site.node.operation);
    if (sum.over_tokens) return make_pool(site);
    return std::make_unique<SumOfHeads>(site);
}

}  // namespace spk
