static void observe(int32_t layer, int32_t first, int32_t channels, const int32_t *values)
{
#if defined(SPK_OBSERVE) || defined(SPK_MAIN)
    for (int32_t channel = 0; channel < channels; ++channel) {
        ${name}_observe(layer, first + channel, values[channel]);
    }
#else
    (void)layer, (void)first, (void)channels, (void)values;
#endif
}
