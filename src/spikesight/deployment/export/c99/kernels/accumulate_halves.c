/* Adds a row of weights of half a byte count times: its first half in the lower half of the bytes,
   the others above them. */
static inline void spk_accumulate_halves(
    int32_t count, const int8_t *restrict row, int32_t outputs, int32_t *restrict sums)
{
    const int32_t first = (outputs + 1) / 2;
    for (int32_t output = 0; output < first; ++output) {
        sums[output] += count * (((row[output] & 15) ^ 8) - 8);
    }
    for (int32_t output = first; output < outputs; ++output) {
        sums[output] += count * ((((uint8_t)row[output - first] >> 4) ^ 8) - 8);
    }
}
