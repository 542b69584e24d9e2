/* What firing leaves of a potential: nothing. */
static inline int32_t spk_reset_hard(int32_t potential, int32_t count, int32_t step)
{
    (void)step;
    return count == 0 ? potential : 0;
}
