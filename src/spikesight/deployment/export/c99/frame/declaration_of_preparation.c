
/* Makes an input of a photo's bytes, ${input_shape}. */
void ${name}_prepare(const uint8_t *photo, ${input_type} *input);
