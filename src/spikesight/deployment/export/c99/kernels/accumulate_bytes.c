/* Adds a row of weights count times. */
static inline void spk_accumulate_bytes(
    int32_t count, const int8_t *restrict row, int32_t outputs, int32_t *restrict sums)
{
    for (int32_t output = 0; output < outputs; ++output) {
        sums[output] += count * row[output];
    }
}
