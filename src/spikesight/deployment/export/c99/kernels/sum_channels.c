/* The sum over the channels of each head. */
SPK_KERNEL void spk_sum_channels_SOURCE(
    int32_t heads, int32_t channels, const SOURCE_t *source, int32_t *values)
{
    for (int32_t head = 0; head < heads; ++head) {
        values[head] = 0;
        for (int32_t channel = 0; channel < channels; ++channel) {
            values[head] += source[head * channels + channel];
        }
    }
}
