/* What a membrane keeps: everything. */
static inline int32_t spk_leak_all(int32_t membrane, int32_t bits)
{
    (void)bits;
    return membrane;
}
