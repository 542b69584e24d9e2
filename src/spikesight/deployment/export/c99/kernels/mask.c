/* A pixel's mask of each query: the product of both, of which so many last channels are taken off. */
SPK_KERNEL void spk_mask_EMBEDDING_FEATURES(
    int32_t queries, int32_t channels, int32_t inhibitory, const EMBEDDING_t *embeddings,
    const FEATURES_t *features, int32_t *values)
{
    for (int32_t query = 0; query < queries; ++query) {
        const EMBEDDING_t *embedding = embeddings + query * channels;
        int32_t sum = 0;
        for (int32_t channel = 0; channel < channels - inhibitory; ++channel) {
            sum += (int32_t)embedding[channel] * features[channel];
        }
        for (int32_t channel = channels - inhibitory; channel < channels; ++channel) {
            sum -= (int32_t)embedding[channel] * features[channel];
        }
        values[query] = sum;
    }
}
