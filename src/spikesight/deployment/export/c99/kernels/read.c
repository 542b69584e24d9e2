/* Takes a pixel's channels. */
SPK_KERNEL void spk_read_SOURCE(int32_t channels, const SOURCE_t *source, int32_t *values)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        values[channel] = source[channel];
    }
}
