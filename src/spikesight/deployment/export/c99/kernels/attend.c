/* The currents of those keys that a pixel's spikes name, added up, head by head. */
SPK_KERNEL void spk_attend_CURRENT_SPIKES(
    int32_t heads, int32_t keys, int32_t width, const CURRENT_t *current, const SPIKES_t *spikes,
    int32_t *values)
{
    memset(values, 0, (size_t)(heads * width) * sizeof *values);
    for (int32_t place = 0; place < heads * keys; ++place) {
        const int32_t count = spikes[place];
        if (count == 0) {
            continue;
        }
        const int32_t head = place / keys, key = place % keys;
        const CURRENT_t *row = current + (key * heads + head) * width;
        for (int32_t channel = 0; channel < width; ++channel) {
            values[head * width + channel] += count * row[channel];
        }
    }
}
