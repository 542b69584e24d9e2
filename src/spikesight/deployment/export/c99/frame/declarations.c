#include <stdint.h>
#include <string.h>

#define ${NAME}_INPUTS ${inputs} /* integers of an input, ${input_shape} */
#define ${NAME}_LOGITS ${logits}
#define ${NAME}_STEPS ${steps} /* time steps T */
#define ${NAME}_LAYERS ${layers}

/* Runs the network from rest. Writes the logits, summed over time. */
void ${name}_run(const ${input_type} *input, int32_t *logits);
