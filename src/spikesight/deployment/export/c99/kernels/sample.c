#include "sampling.h"
#include "floor_shift.c"

/* An offset on the grid of positions, rounded half up; far outside of any map all are alike. */
static int32_t spk_displacement(const spk_sampling *sampling, int32_t offset)
{
    const int32_t bits = sampling->offset_bits - sampling->position_bits;
    const int32_t far = (int32_t)1 << 29;
    if (bits > 0) {
        offset = spk_floor_shift(spk_floor_shift(offset, bits - 1) + 1, 1);
        return offset > far ? far : offset < -far ? -far : offset;
    }
    if (offset > far >> -bits) {
        return far;
    }
    return offset < -(far >> -bits) ? -far : offset * ((int32_t)1 << -bits);
}

/* What deformable sampling gives at one pixel. Silent points cost nothing. */
SPK_KERNEL void spk_sample_VALUE_OFFSET_WEIGHT(
    const spk_sampling *sampling, const VALUE_t *values, const OFFSET_t *offsets,
    const WEIGHT_t *weights, int32_t y, int32_t x, int32_t *sums)
{
    const int32_t bits = sampling->position_bits, grid = (int32_t)1 << bits;
    const int32_t half = ((int32_t)1 << 2 * bits) / 2;
    const int32_t side = sampling->side, points = side * side;
    const int32_t channels = sampling->groups * sampling->channels;
    memset(sums, 0, (size_t)channels * sizeof *sums);
    for (int32_t point = 0; point < sampling->groups * points; ++point) {
        const int32_t weight = weights[point];
        if (weight == 0) {
            continue;
        }
        const int32_t place = point % points, group = point / points;
        const int32_t across = (x + place / side - side / 2) * grid
                               + spk_displacement(sampling, offsets[2 * point]);
        const int32_t down = (y + place % side - side / 2) * grid
                             + spk_displacement(sampling, offsets[2 * point + 1]);
        const int32_t left = spk_floor_shift(across, bits), top = spk_floor_shift(down, bits);
        const int32_t right_share = across - left * grid, lower_share = down - top * grid;
        for (int32_t channel = 0; channel < sampling->channels; ++channel) {
            int32_t between = 0;
            for (int32_t corner = 0; corner < 4; ++corner) {
                const int32_t row = top + corner / 2, column = left + corner % 2;
                if (row < 0 || row >= sampling->height || column < 0
                    || column >= sampling->width) {
                    continue;
                }
                const int32_t share = (corner / 2 != 0 ? lower_share : grid - lower_share)
                                      * (corner % 2 != 0 ? right_share : grid - right_share);
                between += share
                           * values[(row * sampling->width + column) * channels
                                    + group * sampling->channels + channel];
            }
            sums[group * sampling->channels + channel] +=
                weight * spk_floor_shift(between + half, 2 * bits);
        }
    }
}
