// Portable kernels: they always serve, and other instruction sets must equal them.
#include <algorithm>
#include <cstring>

#include "kernels/generic_finish.hpp"
#include "kernels/kernels.hpp"
#include "kernels/portable_weights.hpp"

namespace spk {
namespace {

constexpr int64_t kIntegersOfTile = 4096;

// Pixels in one task: few enough for the cache, and for threads to end together.
int64_t tile_of(int64_t pixels, int32_t stride, int32_t threads) {
    const int64_t fair = (pixels + 4 * threads - 1) / (4 * int64_t(threads));
    return std::clamp(kIntegersOfTile / stride, int64_t(1), std::max(fair, int64_t(1)));
}

class GenericSynapse : public SynapseKernel {
public:
    explicit GenericSynapse(const Convolution& convolution)
        : convolution_(convolution),
          weights_(
              convolution.weight, convolution.outputs, convolution.inputs, convolution.side,
              convolution.groups) {}

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        const Convolution& own = convolution_;
        const int32_t stride = round_up(own.outputs, kCurrentLanes);
        const int64_t pixels = int64_t(own.images) * own.height * own.width;
        const int64_t tile = tile_of(pixels, stride, threads.count());
        threads.run((pixels + tile - 1) / tile, [&](int64_t task, int) {
            thread_local std::vector<int32_t> sums;
            const int64_t begin = task * tile, end = std::min(begin + tile, pixels);
            sums.assign(size_t(tile * stride), 0);
            for (int32_t tap = 0; tap < own.side * own.side; ++tap) {
                for (int64_t pixel = begin; pixel < end; ++pixel) {
                    const int64_t line = pixel / own.width, image = line / own.height;
                    const int64_t y = line % own.height * own.stride - own.padding;
                    const int64_t x = pixel % own.width * own.stride - own.padding;
                    weights_.add(
                        tap, from.pixel(image, y + tap / own.side, x + tap % own.side), own.zero,
                        sums.data() + (pixel - begin) * stride);
                }
            }
            generic_finish(sums.data(), stride, epilogue, begin, end);
        });
    }

    double cost(double nonzero) const override {
        const double products = double(weights_.bytes()) * own_pixels();
        const bool depthwise = convolution_.groups == convolution_.inputs;
        return products * (depthwise ? 1.0 : nonzero) / 2000;
    }

    size_t bytes() const override { return weights_.bytes(); }

private:
    double own_pixels() const {
        return double(convolution_.images) * convolution_.height * convolution_.width;
    }

    Convolution convolution_;
    PortableWeights weights_;
};

std::unique_ptr<SynapseKernel> make_synapse(const Convolution& convolution) {
    return std::make_unique<GenericSynapse>(convolution);
}

class GenericAttention : public AttentionKernel {
public:
    explicit GenericAttention(const AttentionShape& shape)
        : shape_(shape),
          keys_(shape.channels / shape.heads),
          values_(shape.values / shape.heads),
          context_(size_t(shape.images) * size_t(shape.channels) * size_t(values_)) {}

    void run(const CountMap& query, const CountMap& key, const CountMap& value,
             const Epilogue& epilogue, Threads& threads) override {
        threads.run(int64_t(shape_.images) * shape_.heads, [&](int64_t task, int) {
            add_tokens(task / shape_.heads, int32_t(task % shape_.heads), key, value);
        });
        const int32_t stride = round_up(shape_.values, kCurrentLanes);
        const int64_t pixels = int64_t(shape_.images) * shape_.queries;
        const int64_t tile = tile_of(pixels, stride, threads.count());
        threads.run((pixels + tile - 1) / tile, [&](int64_t task, int) {
            thread_local std::vector<int32_t> sums;
            const int64_t begin = task * tile, end = std::min(begin + tile, pixels);
            sums.assign(size_t(tile * stride), 0);
            for (int64_t pixel = begin; pixel < end; ++pixel) {
                ask(pixel, query, sums.data() + (pixel - begin) * stride);
            }
            generic_finish(sums.data(), stride, epilogue, begin, end);
        });
    }

private:
    int32_t* context_of(int64_t image, int32_t head) {
        return context_.data() + (image * shape_.heads + head) * keys_ * values_;
    }

    void add_tokens(int64_t image, int32_t head, const CountMap& key, const CountMap& value) {
        int32_t* context = context_of(image, head);
        std::fill(context, context + int64_t(keys_) * values_, 0);
        for (int32_t y = 0; y < key.height; ++y) {
            for (int32_t x = 0; x < key.width; ++x) {
                const uint8_t* k = key.pixel(image, y, x) + head * keys_;
                const uint8_t* v = value.pixel(image, y, x) + head * values_;
                int32_t* to = context;
                for (int32_t i = 0; i < keys_; ++i, to += values_) {
                    if (k[i] == 0) continue;
                    for (int32_t j = 0; j < values_; ++j) to[j] += int32_t(k[i]) * v[j];
                }
            }
        }
    }

    void ask(int64_t pixel, const CountMap& query, int32_t* sums) {
        const int64_t line = pixel / query.width, image = line / query.height;
        const uint8_t* q = query.pixel(image, line % query.height, pixel % query.width);
        for (int32_t head = 0; head < shape_.heads; ++head, sums += values_) {
            const int32_t* context = context_of(image, head);
            for (int32_t i = 0; i < keys_; ++i, context += values_) {
                const int32_t count = *q++;
                if (count == 0) continue;
                for (int32_t j = 0; j < values_; ++j) sums[j] += count * context[j];
            }
        }
    }

    AttentionShape shape_;
    int32_t keys_, values_;  // channels of a head
    std::vector<int32_t> context_;  // [images][heads][channels of key][channels of value]
};

std::unique_ptr<AttentionKernel> make_attention(const AttentionShape& shape) {
    return std::make_unique<GenericAttention>(shape);
}

bool is_here() { return true; }

}  // namespace

const InstructionSet& generic_set() {
    static const InstructionSet set{
        "generic", is_here, {{"generic", make_synapse}}, make_attention, generic_finish};
    return set;
}

}  // namespace spk
