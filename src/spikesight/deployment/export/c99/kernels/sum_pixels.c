/* The sum over all pixels of each channel. */
SPK_KERNEL void spk_sum_pixels_SOURCE(
    int32_t pixels, int32_t channels, const SOURCE_t *source, int32_t *values)
{
    memset(values, 0, (size_t)channels * sizeof *values);
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        for (int32_t channel = 0; channel < channels; ++channel) {
            values[channel] += source[pixel * channels + channel];
        }
    }
}
