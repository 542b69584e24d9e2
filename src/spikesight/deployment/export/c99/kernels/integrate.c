#include "neuron.h"
#include "leak_LEAK.c"
#include "reset_RESET.c"

/* One time step of a pixel's neurons: leak, charge, fire, reset; currents become counts. */
SPK_KERNEL void spk_integrate_LEAK_RESET_MEMBRANE(
    const spk_neuron *neuron, MEMBRANE_t *membrane, int32_t *values)
{
    for (int32_t channel = 0; channel < neuron->channels; ++channel) {
        const int32_t *threshold = neuron->thresholds + channel * neuron->thresholds_stride;
        const int32_t charge =
            values[channel] * neuron->scale + neuron->bias[channel * neuron->bias_stride];
        const int32_t potential = spk_leak_LEAK(membrane[channel], neuron->leak) + charge;
        int32_t count = 0;
        while (count < neuron->levels && potential >= threshold[count]) {
            ++count;
        }
        membrane[channel] = (MEMBRANE_t)spk_reset_RESET(
            potential, count, neuron->step[channel * neuron->step_stride]);
        values[channel] = count;
    }
}
