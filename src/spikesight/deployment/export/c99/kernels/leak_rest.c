#include "floor_shift.c"

/* What a membrane keeps: all but membrane / 2^bits. */
static inline int32_t spk_leak_rest(int32_t membrane, int32_t bits)
{
    return membrane - spk_floor_shift(membrane, bits);
}
