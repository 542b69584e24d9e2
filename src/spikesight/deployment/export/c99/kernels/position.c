/* The position of a pixel: half of the channels tell its row, the others its column. */
SPK_KERNEL void spk_position_TABLE(
    int32_t half, const TABLE_t *row, const TABLE_t *column, int32_t *values)
{
    for (int32_t channel = 0; channel < half; ++channel) {
        values[channel] = row[channel];
        values[half + channel] = column[channel];
    }
}
