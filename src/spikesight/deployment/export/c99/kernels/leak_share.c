#include "floor_shift.c"

/* What a membrane keeps: membrane / 2^bits. */
static inline int32_t spk_leak_share(int32_t membrane, int32_t bits)
{
    return spk_floor_shift(membrane, bits);
}
