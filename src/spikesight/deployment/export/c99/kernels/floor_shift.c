/* value / 2^bits, rounded down. What >> makes of a negative integer is the compiler's choice. */
static inline int32_t spk_floor_shift(int32_t value, int32_t bits)
{
    return value >= 0 ? value >> bits : ~(~value >> bits);
}
