/* Adds a row of weights of half a byte count times, the lower half of a byte first. */
static inline void spk_accumulate_halves(
    int32_t count, const int8_t *restrict row, int32_t outputs, int32_t *restrict sums)
{
    for (int32_t output = 0; output + 1 < outputs; output += 2) {
        const int32_t both = (uint8_t)row[output / 2];
        sums[output] += count * (((both & 15) ^ 8) - 8);
        sums[output + 1] += count * (((both >> 4) ^ 8) - 8);
    }
    if (outputs % 2 != 0) {
        sums[outputs - 1] += count * (((row[outputs / 2] & 15) ^ 8) - 8);
    }
}
