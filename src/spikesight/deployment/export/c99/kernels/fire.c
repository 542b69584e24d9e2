/* Counts the thresholds that each channel's current reaches. A stride of 0: all channels alike. */
SPK_KERNEL void spk_fire_THRESHOLD(
    int32_t channels, int32_t levels, int32_t stride, const THRESHOLD_t *thresholds,
    int32_t *values)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        const THRESHOLD_t *threshold = thresholds + channel * stride;
        int32_t count = 0;
        while (count < levels && values[channel] >= threshold[count]) {
            ++count;
        }
        values[channel] = count;
    }
}
