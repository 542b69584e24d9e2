/* Adds a pixel's channels to an output, which is a sum over time. */
SPK_KERNEL void spk_add_to_output(int32_t channels, const int32_t *values, int32_t *output)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        output[channel] += values[channel];
    }
}
