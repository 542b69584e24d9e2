#include "convolution.h"
#include "accumulate_WEIGHTS.c"

/* The sums of weights at one pixel. A count of zero costs nothing. */
SPK_KERNEL void spk_convolve_SOURCE_WEIGHTS(
    const spk_convolution *synapse, const SOURCE_t *source, int32_t y, int32_t x, int32_t *sums)
{
    const int32_t channels = synapse->groups * synapse->inputs;
    memset(sums, 0, (size_t)(synapse->groups * synapse->outputs) * sizeof *sums);
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
                synapse->weights + (down * synapse->kernel + across) * channels * synapse->row;
            for (int32_t channel = 0; channel < channels; ++channel) {
                if (counts[channel] != 0) {
                    const int32_t group = channel / synapse->inputs;
                    spk_accumulate_WEIGHTS(
                        counts[channel], weights + channel * synapse->row, synapse->outputs,
                        sums + group * synapse->outputs);
                }
            }
        }
    }
}
