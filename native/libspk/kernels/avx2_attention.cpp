#include <algorithm>

#include "engine/aligned.hpp"
#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"
#include "kernels/avx2_products.hpp"

namespace spk::avx2 {
namespace {

constexpr int kKeys = 8;         // channels of keys whose sums fill the registers
constexpr int kQueries = 4;      // pixels at a time
constexpr int32_t kTile = 32;    // pixels that one context serves while it is in the first cache
constexpr int32_t kShortBits = 15;

__m256i load_anywhere(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

__m256i broadcast_pair(const uint8_t* from) {
    int16_t pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return _mm256_set1_epi16(pair);
}

__m256i broadcast_pair(const int16_t* from) {
    int32_t pair;
    __builtin_memcpy(&pair, from, sizeof pair);
    return _mm256_set1_epi32(pair);
}

// Two tokens' counts of a head side by side, channel after channel, of all tokens.
void interleave_tokens(
    const CountMap& map, int32_t image, int32_t first_channel, int32_t channels, uint8_t* to) {
    const int32_t tokens = map.height * map.width;
    Place place = place_of(int64_t(image) * tokens, map.height, map.width);
    for (int32_t token = 0; token < tokens; token += 2) {
        const uint8_t* one = map.pixel(image, place.y, place.x) + first_channel;
        advance(place, map.height, map.width);
        const bool is_pair = token + 1 < tokens;
        const uint8_t* two = is_pair ? map.pixel(image, place.y, place.x) + first_channel : one;
        advance(place, map.height, map.width);
        for (int32_t channel = 0; channel < channels; channel += 16, to += 32) {
            const auto* lower = reinterpret_cast<const __m128i*>(one + channel);
            const auto* upper = reinterpret_cast<const __m128i*>(two + channel);
            const __m128i a = _mm_loadu_si128(lower);
            const __m128i b = is_pair ? _mm_loadu_si128(upper) : _mm_setzero_si128();
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi8(a, b));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm_unpackhi_epi8(a, b));
        }
    }
}

// Tokens first: K^T V of 16 bits where the counts prove it, else of 30 bits in two parts, of which
// the upper is added 15 bits further left. Then a pixel's queries times that.
class Attention final : public AttentionKernel {
public:
    explicit Attention(const AttentionShape& shape)
        : shape_(shape), keys_(shape.channels / shape.heads),
          values_(shape.values / shape.heads), padded_keys_(round_up(keys_, 16)),
          padded_values_(round_up(values_, 16)), is_short_(most_of(shape) <= INT16_MAX),
          context_size_(int64_t(padded_keys_) * padded_values_),
          // Loads of 16 channels may begin at the last channel of the last head.
          stride_of_queries_(round_up(shape.channels, kCurrentLanes) + 2 * kCurrentLanes),
          stride_of_sums_(round_up(shape.values, kCurrentLanes) + 2 * kCurrentLanes),
          low_(size_t(context_size_ * shape.images * shape.heads)),
          high_(is_short_ ? 0 : low_.size()) {
        const size_t pairs = size_t(shape.tokens + 1) / 2;
        for (int32_t thread = 0; thread < shape.threads; ++thread) {
            scratch_.push_back(
                {AlignedArray<uint8_t>(pairs * padded_keys_ * 2),
                 AlignedArray<uint8_t>(pairs * padded_values_ * 2),
                 AlignedArray<int32_t>(context_size_),
                 AlignedArray<int16_t>(size_t(kTile) * stride_of_queries_),
                 AlignedArray<int32_t>(size_t(kTile) * stride_of_sums_)});
        }
    }

    // The largest sum over tokens.
    static int64_t most_of(const AttentionShape& shape) {
        return int64_t(shape.tokens) * shape.highest_key * shape.highest_value;
    }

    void run(const CountMap& query, const CountMap& key, const CountMap& value,
             const Epilogue& epilogue, Threads& threads) override {
        threads.run(int64_t(shape_.images) * shape_.heads, [&](int64_t task, int thread) {
            sum_tokens(key, value, task, scratch_[thread]);
        });
        const int64_t tiles_of_image = (shape_.queries + kTile - 1) / kTile;
        threads.run(tiles_of_image * shape_.images, [&](int64_t task, int thread) {
            const int64_t image = task / tiles_of_image;
            const int64_t first = task % tiles_of_image * kTile;
            const int32_t count = int32_t(std::min<int64_t>(kTile, shape_.queries - first));
            Finisher finisher(epilogue);
            answer(query, image * shape_.queries + first, count, finisher, scratch_[thread]);
        });
    }

private:
    struct Scratch {
        AlignedArray<uint8_t> keys, values;  // of a head, by pairs of tokens
        AlignedArray<int32_t> context;       // [key's channel][value's channel]
        AlignedArray<int16_t> queries;       // of a tile
        AlignedArray<int32_t> sums;
    };

    void sum_tokens(
        const CountMap& key, const CountMap& value, int64_t head, Scratch& scratch) const {
        const int32_t image = int32_t(head / shape_.heads);
        const int32_t of_image = int32_t(head % shape_.heads);
        interleave_tokens(key, image, of_image * keys_, padded_keys_, scratch.keys.data());
        interleave_tokens(value, image, of_image * values_, padded_values_, scratch.values.data());
        std::fill_n(scratch.context.data(), scratch.context.size(), 0);
        const int32_t pairs = (shape_.tokens + 1) / 2;
        // As many as 16 bits hold.
        const int32_t step =
            std::max(1, INT16_MAX / (2 * std::max(1, shape_.highest_key * shape_.highest_value)));
        for (int32_t pair = 0; pair < pairs; pair += step) {
            const int32_t count = std::min(step, pairs - pair);
            for (int32_t of_key = 0; of_key < padded_keys_; of_key += kKeys) {
                for (int32_t of_value = 0; of_value < padded_values_; of_value += 16) {
                    add_tokens(scratch, pair, count, of_key, of_value);
                }
            }
        }
        store_context(scratch.context.data(), head);
    }

    void add_tokens(
        Scratch& scratch, int32_t pair, int32_t count, int32_t of_key, int32_t of_value) const {
        const uint8_t* keys = scratch.keys.data() + (int64_t(pair) * padded_keys_ + of_key) * 2;
        const uint8_t* values =
            scratch.values.data() + (int64_t(pair) * padded_values_ + of_value) * 2;
        const bool values_fit = shape_.highest_value <= INT8_MAX;
        __m256i sums[kKeys];
        for (__m256i& sum : sums) sum = _mm256_setzero_si256();
        for (int32_t i = 0; i < count;
             ++i, keys += padded_keys_ * 2, values += padded_values_ * 2) {
            const __m256i value = load_bytes(values);
#pragma GCC unroll 8
            for (int j = 0; j < kKeys; ++j) {
                const __m256i key = broadcast_pair(keys + 2 * j);
                const __m256i products = values_fit ? _mm256_maddubs_epi16(key, value)
                                                    : _mm256_maddubs_epi16(value, key);
                sums[j] = _mm256_add_epi16(sums[j], products);
            }
        }
        for (int j = 0; j < kKeys; ++j) {
            int32_t* to = scratch.context.data() + int64_t(of_key + j) * padded_values_ + of_value;
            const __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums[j]));
            const __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums[j], 1));
            store(to, _mm256_add_epi32(load(to), low));
            store(to + 8, _mm256_add_epi32(load(to + 8), high));
        }
    }

    // As [pair of keys' channels][value's channel][2]. A head's size may be odd: the channel of the
    // pair that is of the next head must count for nothing.
    void store_context(const int32_t* context, int64_t head) const {
        int16_t* low = low_.data() + head * context_size_;
        int16_t* high = is_short_ ? nullptr : high_.data() + head * context_size_;
        for (int32_t of_key = 0; of_key < padded_keys_; ++of_key) {
            for (int32_t of_value = 0; of_value < padded_values_; ++of_value) {
                const int32_t sum =
                    of_key < keys_ ? context[int64_t(of_key) * padded_values_ + of_value] : 0;
                const int64_t to =
                    (int64_t(of_key / 2) * padded_values_ + of_value) * 2 + of_key % 2;
                low[to] = int16_t(is_short_ ? sum : sum & INT16_MAX);
                if (high) high[to] = int16_t(sum >> kShortBits);
            }
        }
    }

    void answer(const CountMap& query, int64_t first, int32_t count, Finisher& finisher,
                Scratch& scratch) const {
        Place places[kTile];
        Place place = place_of(first, query.height, query.width);
        for (int32_t i = 0; i < count; ++i) {
            places[i] = place;
            const uint8_t* from = query.pixel(place.image, place.y, place.x);
            int16_t* to = scratch.queries.data() + int64_t(i) * stride_of_queries_;
            for (int32_t channel = 0; channel < shape_.channels; channel += 16) {
                const auto* bytes = reinterpret_cast<const __m128i*>(from + channel);
                _mm256_store_si256(reinterpret_cast<__m256i*>(to + channel),
                                   _mm256_cvtepu8_epi16(_mm_load_si128(bytes)));
            }
            advance(place, query.height, query.width);
        }
        // What a head writes beyond its channels, the next one overwrites.
        for (int32_t head = 0; head < shape_.heads; ++head) {
            const int64_t context =
                (places[0].image * int64_t(shape_.heads) + head) * context_size_;
            for (int32_t of_value = 0; of_value < values_; of_value += 16) {
                for (int32_t i = 0; i < count; i += kQueries) {
                    multiply(scratch, i, head, context + of_value * 2, of_value);
                }
            }
        }
        for (int32_t channel = 0; channel < shape_.values; channel += kCurrentLanes) {
            for (int32_t i = 0; i < count; ++i) {
                const int32_t* sums =
                    scratch.sums.data() + int64_t(i) * stride_of_sums_ + channel;
                __m256i loaded[1][2] = {{load(sums), load(sums + 8)}};
                finisher.finish<1>(places + i, channel, loaded);
            }
        }
    }

    void multiply(
        Scratch& scratch, int32_t pixel, int32_t head, int64_t context, int32_t of_value) const {
        const int16_t* queries =
            scratch.queries.data() + int64_t(pixel) * stride_of_queries_ + head * keys_;
        __m256i sums[kQueries][2];
        add_channels(queries, low_.data() + context, sums);
        if (!is_short_) {
            __m256i upper[kQueries][2];
            add_channels(queries, high_.data() + context, upper);
            for (int i = 0; i < kQueries; ++i) {
                for (int half = 0; half < 2; ++half) {
                    const __m256i shifted = _mm256_slli_epi32(upper[i][half], kShortBits);
                    sums[i][half] = _mm256_add_epi32(sums[i][half], shifted);
                }
            }
        }
        for (int i = 0; i < kQueries; ++i) {
            int32_t* to = scratch.sums.data() + int64_t(pixel + i) * stride_of_sums_ +
                          head * values_ + of_value;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums[i][0]);
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), sums[i][1]);
        }
    }

    void add_channels(const int16_t* queries, const int16_t* context, __m256i (*sums)[2]) const {
        for (int i = 0; i < kQueries; ++i) sums[i][0] = sums[i][1] = _mm256_setzero_si256();
        for (int32_t of_key = 0; of_key < keys_; of_key += 2, context += padded_values_ * 2) {
            const __m256i first = load_anywhere(context), second = load_anywhere(context + 16);
#pragma GCC unroll 4
            for (int i = 0; i < kQueries; ++i) {
                const __m256i pair =
                    broadcast_pair(queries + int64_t(i) * stride_of_queries_ + of_key);
                sums[i][0] = _mm256_add_epi32(sums[i][0], _mm256_madd_epi16(pair, first));
                sums[i][1] = _mm256_add_epi32(sums[i][1], _mm256_madd_epi16(pair, second));
            }
        }
    }

    const AttentionShape shape_;
    const int32_t keys_, values_, padded_keys_, padded_values_;  // channels of a head
    const bool is_short_;
    const int64_t context_size_;
    const int32_t stride_of_queries_, stride_of_sums_;
    AlignedArray<int16_t> low_, high_;  // of the context, per image and head
    std::vector<Scratch> scratch_;
};

}  // namespace

std::unique_ptr<AttentionKernel> make_attention(const AttentionShape& shape) {
    const int64_t pair = 2 * int64_t(shape.highest_key) * shape.highest_value;
    const bool one_is_signed = std::min(shape.highest_key, shape.highest_value) <= INT8_MAX;
    const bool fits = Attention::most_of(shape) < int64_t(1) << 30;
    if (pair > INT16_MAX || !one_is_signed || !fits) return nullptr;
    return std::make_unique<Attention>(shape);
}

}  // namespace spk::avx2
