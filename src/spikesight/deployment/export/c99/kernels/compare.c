/* A pixel's spikes with every key: the key's currents where there are spikes, head by head. */
SPK_KERNEL void spk_compare_CURRENT_SPIKES(
    int32_t heads, int32_t keys, int32_t width, const CURRENT_t *current, const SPIKES_t *spikes,
    int32_t *values)
{
    memset(values, 0, (size_t)(heads * keys) * sizeof *values);
    for (int32_t channel = 0; channel < heads * width; ++channel) {
        const int32_t count = spikes[channel];
        if (count == 0) {
            continue;
        }
        int32_t *head = values + channel / width * keys;
        for (int32_t key = 0; key < keys; ++key) {
            head[key] += count * current[key * heads * width + channel];
        }
    }
}
