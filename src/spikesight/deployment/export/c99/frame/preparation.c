
void ${name}_prepare(const uint8_t *photo, ${input_type} *input)
{
    for (int32_t index = 0; index < ${NAME}_INPUTS; ++index) {
        input[index] = integers_of_bytes[index % ${channels} * 256 + photo[index]];
    }
}
