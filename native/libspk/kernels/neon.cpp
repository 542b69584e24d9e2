// ARM with NEON and its dot products of bytes.
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <algorithm>
#include <vector>

#include "engine/aligned.hpp"
#include "kernels/generic_finish.hpp"
#include "kernels/kernels.hpp"
#include "kernels/places.hpp"

namespace spk {
namespace {

constexpr int32_t kBlock = 16;    // outputs whose sums lie in four vectors
constexpr int32_t kVectors = 4;
constexpr int32_t kInputs = 16;   // of a vector of counts
constexpr int32_t kQuad = 4;      // inputs that a dot product adds up
constexpr int32_t kPixels = 4;    // whose sums fill the registers
constexpr int32_t kTile = 64;     // pixels whose sums await the epilogue
constexpr int32_t kTasksPerThread = 4;
// What Cortex-A76 could do at half its peak; not measured.
constexpr double kProductsPerMicrosecond = 100e3;

// Every weight times every input, in 32 bits: counts up to 127 and the image as signed bytes.
class NeonDense final : public SynapseKernel {
public:
    explicit NeonDense(const Convolution& convolution)
        : shape_(convolution), taps_(convolution.side * convolution.side),
          vectors_of_tap_(round_up(convolution.inputs, kInputs) / kInputs),
          blocks_(round_up(convolution.outputs, kBlock) / kBlock),
          weight_(size_t(blocks_) * taps_ * vectors_of_tap_ * kInputs * kBlock) {
        shape_.weight = nullptr;
        for (int32_t output = 0; output < convolution.outputs; ++output) {
            for (int32_t input = 0; input < convolution.inputs; ++input) {
                for (int32_t tap = 0; tap < taps_; ++tap) {
                    const int64_t from =
                        (int64_t(output) * convolution.inputs + input) * taps_ + tap;
                    const int64_t quad =
                        (int64_t(output / kBlock * taps_ + tap) * vectors_of_tap_ * kInputs +
                         input) / kQuad;
                    const int64_t of_quad = output % kBlock * kQuad + input % kQuad;
                    weight_[size_t(quad * kBlock * kQuad + of_quad)] = convolution.weight[from];
                }
            }
        }
    }

    void run(const CountMap& from, const Epilogue& epilogue, Threads& threads) override {
        std::vector<int64_t> offsets;
        for (int32_t tap = 0; tap < taps_; ++tap) {
            offsets.push_back(
                tap / shape_.side * from.row_bytes() + tap % shape_.side * int64_t(from.stride));
        }
        const int64_t pixels = int64_t(shape_.images) * shape_.height * shape_.width;
        const int64_t fair = pixels / (threads.count() * kTasksPerThread) / kPixels * kPixels;
        const int64_t tile = std::clamp<int64_t>(fair, kPixels, kTile);
        threads.run((pixels + tile - 1) / tile, [&](int64_t task, int) {
            const int64_t begin = task * tile, end = std::min(begin + tile, pixels);
            run_tile(from, epilogue, offsets.data(), begin, end);
        });
    }

    double cost(double nonzero) const override { return cost_of(shape_, nonzero); }

    static double cost_of(const Convolution& convolution, double) {
        if (!serves(convolution)) return -1;
        const double pixels =
            double(convolution.images) * convolution.height * convolution.width;
        return pixels * convolution.outputs * convolution.side * convolution.side *
               convolution.inputs / kProductsPerMicrosecond;
    }

    static bool serves(const Convolution& convolution) {
        return convolution.groups == 1 && convolution.lowest >= INT8_MIN &&
               convolution.highest <= INT8_MAX;
    }

    static std::unique_ptr<SynapseKernel> make(const Convolution& convolution) {
        if (!serves(convolution)) return nullptr;
        return std::make_unique<NeonDense>(convolution);
    }

    size_t bytes() const override { return weight_.bytes(); }

private:
    void run_tile(const CountMap& from, const Epilogue& epilogue, const int64_t* offsets,
                  int64_t begin, int64_t end) const {
        const int32_t stride = blocks_ * kBlock;
        thread_local std::vector<int32_t> sums;
        sums.resize(size_t(round_up(int32_t(end - begin), kPixels)) * stride);
        const uint8_t* pixels[kTile];
        Place place = place_of(begin, shape_.height, shape_.width);
        for (int64_t i = 0; i < end - begin; ++i) {
            pixels[i] = from.pixel(
                place.image, int64_t(place.y) * shape_.stride - shape_.padding,
                int64_t(place.x) * shape_.stride - shape_.padding);
            advance(place, shape_.height, shape_.width);
        }
        // The last group is filled up with the last pixel.
        for (int64_t i = end - begin; i % kPixels; ++i) pixels[i] = pixels[i - 1];
        for (int32_t block = 0; block < blocks_; ++block) {
            for (int64_t i = 0; i < end - begin; i += kPixels) {
                run_pixels(block, pixels + i, offsets, sums.data() + i * stride + block * kBlock);
            }
        }
        generic_finish(sums.data(), stride, epilogue, begin, end);
    }

    void run_pixels(int32_t block, const uint8_t* const* pixels, const int64_t* offsets,
                    int32_t* to) const {
        const uint8x16_t zero = vdupq_n_u8(shape_.zero);
        const int8_t* weight =
            weight_.data() + int64_t(block) * taps_ * vectors_of_tap_ * kInputs * kBlock;
        int32x4_t sums[kPixels][kVectors];
        for (auto& of_pixel : sums) {
            for (int32x4_t& sum : of_pixel) sum = vdupq_n_s32(0);
        }
        for (int32_t tap = 0; tap < taps_; ++tap) {
            for (int32_t vector = 0; vector < vectors_of_tap_; ++vector) {
                int8x16_t inputs[kPixels];
                for (int i = 0; i < kPixels; ++i) {
                    const uint8_t* from = pixels[i] + offsets[tap] + vector * kInputs;
                    inputs[i] = vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(from), zero));
                }
                add_quad<0>(weight, inputs, sums);
                add_quad<1>(weight + kBlock * kQuad, inputs, sums);
                add_quad<2>(weight + 2 * kBlock * kQuad, inputs, sums);
                add_quad<3>(weight + 3 * kBlock * kQuad, inputs, sums);
                weight += kInputs * kBlock;
            }
        }
        const int32_t stride = blocks_ * kBlock;
        for (int i = 0; i < kPixels; ++i) {
            for (int j = 0; j < kVectors; ++j) vst1q_s32(to + i * stride + j * 4, sums[i][j]);
        }
    }

    template <int kLane>
    static void add_quad(
        const int8_t* weight, const int8x16_t* inputs, int32x4_t (*sums)[kVectors]) {
        for (int j = 0; j < kVectors; ++j) {
            const int8x16_t of_outputs = vld1q_s8(weight + j * 16);
            for (int i = 0; i < kPixels; ++i) {
                sums[i][j] = vdotq_laneq_s32(sums[i][j], of_outputs, inputs[i], kLane);
            }
        }
    }

    Convolution shape_;
    const int32_t taps_, vectors_of_tap_, blocks_;
    const AlignedArray<int8_t> weight_;  // [block][tap][quad of inputs][output][input]
};

bool has_dot_products() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return true;  // Apple's processors
#endif
}

}  // namespace

const InstructionSet& neon_set() {
    static const InstructionSet set = [] {
        const InstructionSet& generic = generic_set();
        std::vector<SynapseForm> forms = {{"dense", NeonDense::make, NeonDense::cost_of}};
        forms.insert(forms.end(), generic.synapses.begin(), generic.synapses.end());
        return InstructionSet{
            "neon", has_dot_products, forms, generic.make_attention, generic.finish};
    }();
    return set;
}

}  // namespace spk
