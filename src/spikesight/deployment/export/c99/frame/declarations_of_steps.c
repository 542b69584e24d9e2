
/* Puts every membrane at rest. */
void ${name}_reset(void);

/* Runs one time step on ${frame} and adds to the logits, of which the caller made
   zeros. The proof of ranges holds for ${NAME}_STEPS time steps from rest. */
void ${name}_step(const ${input_type} *${frame_name}, int32_t *logits);
