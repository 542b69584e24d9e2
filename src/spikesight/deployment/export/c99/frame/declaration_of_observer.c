
#if defined(SPK_OBSERVE) || defined(SPK_MAIN)
/* Yours to write: is told every integer of a time step, by layer and place in [y][x][channel];
   those of outputs once, at the end of a run. */
void ${name}_observe(int32_t layer, int32_t index, int32_t value);
#endif
