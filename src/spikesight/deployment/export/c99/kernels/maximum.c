#include "window.h"

/* The largest integer of each channel within the window; the border does not take part. */
SPK_KERNEL void spk_maximum_SOURCE(
    const spk_window *window, const SOURCE_t *source, int32_t y, int32_t x, int32_t *values)
{
    int32_t seen = 0;
    for (int32_t down = 0; down < window->kernel; ++down) {
        const int32_t row = y * window->stride + down - window->padding;
        if (row < 0 || row >= window->height) {
            continue;
        }
        for (int32_t across = 0; across < window->kernel; ++across) {
            const int32_t column = x * window->stride + across - window->padding;
            if (column < 0 || column >= window->width) {
                continue;
            }
            const SOURCE_t *pixel = source + (row * window->width + column) * window->channels;
            for (int32_t channel = 0; channel < window->channels; ++channel) {
                if (seen == 0 || pixel[channel] > values[channel]) {
                    values[channel] = pixel[channel];
                }
            }
            seen = 1;
        }
    }
}
