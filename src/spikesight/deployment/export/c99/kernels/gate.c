/* Multiplies counts by those of a gate, each of which serves so many channels. */
SPK_KERNEL void spk_gate_SOURCE(
    int32_t channels, int32_t served, const SOURCE_t *gate, int32_t *values)
{
    for (int32_t channel = 0; channel < channels; ++channel) {
        values[channel] *= gate[channel / served];
    }
}
