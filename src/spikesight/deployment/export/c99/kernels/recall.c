#include "attention.h"

/* What a token's queries find in the context. Silent queries cost nothing. */
SPK_KERNEL void spk_recall_QUERY_CONTEXT(
    const spk_attention *attention, const QUERY_t *queries, const CONTEXT_t *context,
    int32_t *values)
{
    const int32_t width = attention->width, depth = attention->depth;
    memset(values, 0, (size_t)(attention->heads * depth) * sizeof *values);
    for (int32_t channel = 0; channel < attention->heads * width; ++channel) {
        const int32_t query = queries[channel];
        if (query == 0) {
            continue;
        }
        const CONTEXT_t *row = context + channel * depth;
        int32_t *head = values + channel / width * depth;
        for (int32_t other = 0; other < depth; ++other) {
            head[other] += query * row[other];
        }
    }
}
