#include "floor_shift.c"

/* A pixel of a map at twice its size: (9 nearest + 3 + 3 of its neighbours + diagonal) / 16. */
SPK_KERNEL void spk_double_SOURCE(
    int32_t height, int32_t width, int32_t channels, const SOURCE_t *source, int32_t y,
    int32_t x, int32_t *values)
{
    const int32_t row = y / 2, column = x / 2;
    int32_t next_row = y % 2 != 0 ? row + 1 : row - 1;
    int32_t next_column = x % 2 != 0 ? column + 1 : column - 1;
    if (next_row < 0 || next_row >= height) {
        next_row = row;
    }
    if (next_column < 0 || next_column >= width) {
        next_column = column;
    }
    const SOURCE_t *nearest = source + (row * width + column) * channels;
    const SOURCE_t *beside = source + (row * width + next_column) * channels;
    const SOURCE_t *below = source + (next_row * width + column) * channels;
    const SOURCE_t *diagonal = source + (next_row * width + next_column) * channels;
    for (int32_t channel = 0; channel < channels; ++channel) {
        const int32_t sum = (int32_t)9 * nearest[channel] + (int32_t)3 * beside[channel]
                            + (int32_t)3 * below[channel] + diagonal[channel];
        values[channel] = spk_floor_shift(sum + 8, 4);
    }
}
