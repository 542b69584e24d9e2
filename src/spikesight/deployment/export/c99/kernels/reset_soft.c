/* What firing leaves of a potential: less a step for every spike. */
static inline int32_t spk_reset_soft(int32_t potential, int32_t count, int32_t step)
{
    return potential - step * count;
}
