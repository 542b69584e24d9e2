#include "floor_shift.c"

/* Lands sums on another grid: left by shift bits, plus bias, or right by -shift, rounded down. */
SPK_KERNEL void spk_shift_and_bias(
    int32_t channels, const int8_t *shift, const int32_t *bias, int32_t *values)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        const int32_t bits = shift[channel];
        if (bits >= 0) {
            values[channel] = values[channel] * ((int32_t)1 << bits) + bias[channel];
        } else {
            values[channel] = spk_floor_shift(values[channel] + bias[channel], -bits);
        }
    }
}
