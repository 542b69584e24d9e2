#include "attention.h"

/* K^T V of each head: [heads][width of keys][width of values]. Silent keys cost nothing. */
SPK_KERNEL void spk_remember_KEY_VALUE_CONTEXT(
    const spk_attention *attention, const KEY_t *keys, const VALUE_t *values, CONTEXT_t *context)
{
    const int32_t width = attention->width, depth = attention->depth;
    const int32_t channels = attention->heads * width;
    memset(context, 0, (size_t)(channels * depth) * sizeof *context);
    for (int32_t token = 0; token < attention->tokens; ++token) {
        for (int32_t channel = 0; channel < channels; ++channel) {
            const int32_t key = keys[token * channels + channel];
            if (key == 0) {
                continue;
            }
            const VALUE_t *value = values + (token * attention->heads + channel / width) * depth;
            CONTEXT_t *row = context + channel * depth;
            for (int32_t other = 0; other < depth; ++other) {
                row[other] = (CONTEXT_t)(row[other] + key * value[other]);
            }
        }
    }
}
