// Products whose inputs are currents, for which no kernels of counts serve.
#include <algorithm>

#include "engine/steps.hpp"
#include "kernels/portable_weights.hpp"

namespace spk {
namespace {

class SynapseOfCurrents : public RowsStep {
public:
    SynapseOfCurrents(const StepSite& site, const Synapse& synapse)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          from_(*site.inputs[0]),
          side_(std::max(synapse.side, 1)),
          stride_(synapse.stride),
          padding_(synapse.padding),
          channels_(site.channels),
          weights_(
              synapse.weight().data(), synapse.outputs, from_.channels(), side_, synapse.groups) {
        const auto along = [&](int32_t side) { return (side + 2 * padding_ - side_) / stride_ + 1; };
        height_ = along(from_.height());
        width_ = along(from_.width());
    }

    std::string form() const override { return "currents"; }

protected:
    size_t spare_integers() const override { return size_t(from_.channels()); }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int64_t line = pixel / width_, image = line / height_;
            const int64_t top = line % height_ * stride_ - padding_;
            const int64_t left = pixel % width_ * stride_ - padding_;
            std::fill(rows, rows + channels_, 0);
            for (int32_t tap = 0; tap < side_ * side_; ++tap) {
                const int64_t y = top + tap / side_, x = left + tap % side_;
                if (y < 0 || x < 0 || y >= from_.height() || x >= from_.width()) continue;
                const int64_t at = (image * from_.height() + y) * from_.width() + x;
                weights_.add(tap, from_.read(at, spare), 0, rows);
            }
        }
    }

private:
    const Value& from_;
    int32_t side_, stride_, padding_, channels_, height_, width_;
    PortableWeights weights_;
};

class AttentionOfCurrents : public RowsStep {
public:
    explicit AttentionOfCurrents(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          query_(*site.inputs[0]),
          key_(*site.inputs[1]),
          value_(*site.inputs[2]),
          heads_(std::get<Attention>(site.node.operation).heads),
          keys_(query_.channels()),
          values_(site.channels),
          keys_of_head_(keys_ / heads_),
          values_of_head_(values_ / heads_),
          context_(size_t(query_.images()) * size_t(keys_) * size_t(values_of_head_)),
          row_(size_t(keys_) + size_t(values_)) {}

protected:
    size_t spare_integers() const override { return size_t(keys_); }

    void begin(Workshop&) override {
        std::fill(context_.begin(), context_.end(), 0);
        const int64_t tokens = key_.pixels_of_image();
        for (int64_t token = 0; token < tokens * key_.images(); ++token) {
            const int32_t* key = key_.read(token, row_.data());
            const int32_t* value = value_.read(token, row_.data() + keys_);
            int32_t* to = context_.data() + token / tokens * keys_ * values_of_head_;
            for (int32_t c = 0; c < keys_; ++c, to += values_of_head_) {
                const int32_t* values = value + c / keys_of_head_ * values_of_head_;
                for (int32_t j = 0; j < values_of_head_; ++j) to[j] += key[c] * values[j];
            }
        }
    }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* query = query_.read(pixel, spare);
            const int32_t* context =
                context_.data() + pixel / query_.pixels_of_image() * keys_ * values_of_head_;
            std::fill(rows, rows + values_, 0);
            for (int32_t c = 0; c < keys_; ++c, context += values_of_head_) {
                int32_t* sums = rows + c / keys_of_head_ * values_of_head_;
                for (int32_t j = 0; j < values_of_head_; ++j) sums[j] += query[c] * context[j];
            }
        }
    }

private:
    const Value &query_, &key_, &value_;
    int32_t heads_, keys_, values_, keys_of_head_, values_of_head_;  // channels
    std::vector<int32_t> context_;  // [images][heads][channels of key][channels of value]
    std::vector<int32_t> row_;
};

class SumsOfCurrents : public RowsStep {
public:
    explicit SumsOfCurrents(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          current_(*site.inputs[0]),
          spikes_(*site.inputs[1]),
          over_channels_(std::get<CurrentProduct>(site.node.operation).over_channels),
          heads_(std::get<CurrentProduct>(site.node.operation).heads),
          read_(spikes_.channels()),
          given_(site.channels),
          rows_(size_t(current_.images()) * size_t(read_) * size_t(given_ / heads_)) {}

    std::string form() const override { return "currents"; }

protected:
    size_t spare_integers() const override {
        return size_t(std::max(read_, current_.channels()));
    }

    void begin(Workshop& workshop) override {
        const int64_t keys = current_.pixels_of_image();
        const int32_t channels = current_.channels(), width = channels / heads_;
        int32_t* spare = workshop.scratch[0].data();
        for (int64_t image = 0; image < current_.images(); ++image) {
            int32_t* rows = rows_.data() + image * read_ * (given_ / heads_);
            for (int64_t key = 0; key < keys; ++key) {
                const int32_t* from = current_.read(image * keys + key, spare);
                for (int32_t c = 0; c < channels; ++c) {
                    const int64_t place = c / width * keys + key;
                    rows[over_channels_ ? c * keys + key : place * width + c % width] = from[c];
                }
            }
        }
    }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        const int32_t of_head = given_ / heads_, read_of_head = read_ / heads_;
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* counts = spikes_.read(pixel, spare);
            const int32_t* row =
                rows_.data() + pixel / spikes_.pixels_of_image() * read_ * of_head;
            std::fill(rows, rows + given_, 0);
            for (int32_t c = 0; c < read_; ++c, row += of_head) {
                if (counts[c] == 0) continue;
                int32_t* sums = rows + c / read_of_head * of_head;
                for (int32_t j = 0; j < of_head; ++j) sums[j] += counts[c] * row[j];
            }
        }
    }

private:
    const Value &current_, &spikes_;
    bool over_channels_;
    int32_t heads_, read_, given_;  // channels of spikes and of the sums
    std::vector<int32_t> rows_;  // [images][channels of spikes][sums of a head]
};

class MaskOfQueries : public RowsStep {
public:
    explicit MaskOfQueries(const StepSite& site)
        : RowsStep(site.pixels, site.channels, site.epilogue, site.to),
          embedding_(*site.inputs[0]),
          features_(*site.inputs[1]),
          excitatory_(
              embedding_.channels() - std::get<MaskProduct>(site.node.operation).inhibitory),
          queries_(site.channels),
          weights_(
              size_t(embedding_.images()) * size_t(embedding_.channels()) * size_t(queries_)) {}

protected:
    size_t spare_integers() const override { return size_t(features_.channels()); }

    void begin(Workshop& workshop) override {
        const int32_t channels = embedding_.channels();
        int32_t* spare = workshop.scratch[0].data();
        for (int64_t image = 0; image < embedding_.images(); ++image) {
            int32_t* weights = weights_.data() + image * channels * queries_;
            for (int32_t query = 0; query < queries_; ++query) {
                const int32_t* from = embedding_.read(image * queries_ + query, spare);
                for (int32_t c = 0; c < channels; ++c) {
                    weights[int64_t(c) * queries_ + query] = c < excitatory_ ? from[c] : -from[c];
                }
            }
        }
    }

    void fill(int64_t begin, int64_t end, int32_t* rows, int32_t stride,
              int32_t* spare) const override {
        const int32_t channels = features_.channels();
        for (int64_t pixel = begin; pixel < end; ++pixel, rows += stride) {
            const int32_t* from = features_.read(pixel, spare);
            const int32_t* weights =
                weights_.data() + pixel / features_.pixels_of_image() * channels * queries_;
            std::fill(rows, rows + queries_, 0);
            for (int32_t c = 0; c < channels; ++c, weights += queries_) {
                if (from[c] == 0) continue;
                for (int32_t q = 0; q < queries_; ++q) rows[q] += from[c] * weights[q];
            }
        }
    }

private:
    const Value &embedding_, &features_;
    int32_t excitatory_, queries_;
    std::vector<int32_t> weights_;  // [images][channels][queries]
};

}  // namespace

std::unique_ptr<Step> make_synapse_of_currents(const StepSite& site) {
    return std::make_unique<SynapseOfCurrents>(site, std::get<Synapse>(site.node.operation));
}

std::unique_ptr<Step> make_attention_of_currents(const StepSite& site) {
    return std::make_unique<AttentionOfCurrents>(site);
}

std::unique_ptr<Step> make_current_product(const StepSite& site) {
    return std::make_unique<SumsOfCurrents>(site);
}

std::unique_ptr<Step> make_mask_product(const StepSite& site) {
    return std::make_unique<MaskOfQueries>(site);
}

}  // namespace spk
