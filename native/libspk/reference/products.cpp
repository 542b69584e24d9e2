// Products of counts and with counts: gates, the sums that feed them, attention, masks.
#include "reference/nodes.hpp"

namespace spk::reference {

void gate(const Value& gated, const Value& by, Value& result) {
    const int64_t channels_of_gate = gated.shape.channels / by.shape.channels;
    const bool one_pixel = by.shape.pixels() == 1;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t channel = 0; channel < result.shape.channels; channel++) {
            const int64_t* from = gated.plane(sample, channel);
            const int64_t* gates = by.plane(sample, channel / channels_of_gate);
            int64_t* to = result.plane(sample, channel);
            for (int64_t pixel = 0; pixel < result.shape.pixels(); pixel++)
                to[pixel] = from[pixel] * gates[one_pixel ? 0 : pixel];
        }
    }
}

void sum_spikes(const SpikeSum& node, const Value& source, Value& result) {
    const int64_t channels_of_head = source.shape.channels / node.heads;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t channel = 0; channel < source.shape.channels; channel++) {
            const int64_t* from = source.plane(sample, channel);
            int64_t* to =
                result.plane(sample, node.over_tokens ? channel : channel / channels_of_head);
            for (int64_t pixel = 0; pixel < source.shape.pixels(); pixel++)
                to[node.over_tokens ? 0 : pixel] += from[pixel];
        }
    }
}

void sum_currents(const CurrentProduct& node, const Value& current, const Value& spikes,
                  Value& result) {
    const int64_t width = current.shape.channels / node.heads;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t head = 0; head < node.heads; head++) {
            for (int64_t key = 0; key < node.keys; key++) {
                for (int64_t i = head * width; i < (head + 1) * width; i++) {
                    const int64_t element = current.plane(sample, i)[key];
                    const int64_t place = head * node.keys + key;
                    const int64_t* counts = spikes.plane(sample, node.over_channels ? i : place);
                    int64_t* to = result.plane(sample, node.over_channels ? place : i);
                    for (int64_t pixel = 0; pixel < result.shape.pixels(); pixel++)
                        to[pixel] += element * counts[pixel];
                }
            }
        }
    }
}

void attend(const Attention& node, const Value& query, const Value& key, const Value& value,
            Value& result) {
    const int64_t width = query.shape.channels / node.heads;
    const int64_t depth = value.shape.channels / node.heads;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t channel = 0; channel < result.shape.channels; channel++) {
            const int64_t first = channel / depth * width;
            const int64_t* values = value.plane(sample, channel);
            int64_t* to = result.plane(sample, channel);
            for (int64_t other = first; other < first + width; other++) {
                const int64_t* keys = key.plane(sample, other);
                const int64_t* queries = query.plane(sample, other);
                int64_t context = 0;
                for (int64_t pixel = 0; pixel < key.shape.pixels(); pixel++)
                    context += values[pixel] * keys[pixel];
                for (int64_t pixel = 0; pixel < result.shape.pixels(); pixel++)
                    to[pixel] += context * queries[pixel];
            }
        }
    }
}

void multiply_masks(const MaskProduct& node, const Value& embedding, const Value& features,
                    Value& result) {
    const int64_t channels = features.shape.channels;
    for (int64_t sample = 0; sample < result.batch; sample++) {
        for (int64_t query = 0; query < result.shape.channels; query++) {
            int64_t* to = result.plane(sample, query);
            for (int64_t channel = 0; channel < channels; channel++) {
                const int64_t count = embedding.plane(sample, channel)[query];
                const int64_t sign = channel < channels - node.inhibitory ? 1 : -1;
                const int64_t* from = features.plane(sample, channel);
                for (int64_t pixel = 0; pixel < result.shape.pixels(); pixel++)
                    to[pixel] += sign * count * from[pixel];
            }
        }
    }
}

}  // namespace spk::reference
