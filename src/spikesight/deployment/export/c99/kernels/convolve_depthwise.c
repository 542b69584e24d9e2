#include "convolution.h"

/* The sums of weights at one pixel, each channel by itself. */
SPK_KERNEL void spk_convolve_depthwise_SOURCE(
    const spk_convolution *synapse, const SOURCE_t *restrict source, int32_t y, int32_t x,
    int32_t *restrict sums)
{
    const int32_t channels = synapse->groups;
    memset(sums, 0, (size_t)channels * sizeof *sums);
    for (int32_t down = 0; down < synapse->kernel; ++down) {
        const int32_t row = y * synapse->stride + down - synapse->padding;
        if (row < 0 || row >= synapse->height) {
            continue;
        }
        for (int32_t across = 0; across < synapse->kernel; ++across) {
            const int32_t column = x * synapse->stride + across - synapse->padding;
            if (column < 0 || column >= synapse->width) {
                continue;
            }
            const SOURCE_t *counts = source + (row * synapse->width + column) * channels;
            const int8_t *weights =
                synapse->weights + (down * synapse->kernel + across) * channels;
            for (int32_t channel = 0; channel < channels; ++channel) {
                sums[channel] += (int32_t)counts[channel] * weights[channel];
            }
        }
    }
}
