/* Keeps a pixel's channels. */
SPK_KERNEL void spk_write_TARGET(int32_t channels, const int32_t *values, TARGET_t *target)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        target[channel] = (TARGET_t)values[channel];
    }
}
