#ifdef SPK_MAIN

#include <stdio.h>

/* A file of golden vectors; no name where a layer is constant. */
typedef struct {
    const char *name;
    int32_t bits;
    int32_t is_signed;
} golden_file;

static const golden_file golden_files[${NAME}_LAYERS] = {
${files}
};

static FILE *golden[${NAME}_LAYERS];
static unsigned long compared[${NAME}_LAYERS], differing[${NAME}_LAYERS];

/* The value of a hexadecimal digit; -1 of another character. */
static int32_t digit_of(int character)
{
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    return character >= 'a' && character <= 'f' ? character - 'a' + 10 : -1;
}

/* Reads the next integer of a file, two's complement in hexadecimal digits; 0 at its end. */
static int32_t read_integer(int32_t layer, int32_t *value)
{
    FILE *file = golden[layer];
    int character = fgetc(file);
    while (character == '/' || character == ' ' || character == '\n') {
        while (character == '/' && (character = fgetc(file)) != '\n' && character != EOF) {
            character = '/';
        }
        character = fgetc(file);
    }
    uint32_t digits = 0;
    if (digit_of(character) < 0) {
        return 0;
    }
    for (; digit_of(character) >= 0; character = fgetc(file)) {
        digits = digits << 4 | (uint32_t)digit_of(character);
    }
    const uint32_t all = UINT32_MAX >> (32 - golden_files[layer].bits);
    const uint32_t is_negative = golden_files[layer].is_signed && digits > all / 2;
    *value = is_negative ? -(int32_t)(all - digits) - 1 : (int32_t)digits;
    return 1;
}

void ${name}_observe(int32_t layer, int32_t index, int32_t value)
{
    int32_t expected = 0;
    (void)index;
    ++compared[layer];
    if (!read_integer(layer, &expected) || expected != value) {
        ++differing[layer];
    }
}

/* Reads an input; 0 where no whole one is left. */
static int32_t read_input(${input_type} *input)
{
    int32_t value;
    for (int32_t index = 0; index < ${NAME}_INPUTS; ++index) {
        if (!read_integer(0, &value)) {
            return 0;
        }
        input[index] = (${input_type})value;
    }
    return 1;
}

/* Compares every layer with the golden vectors in a folder. */
int main(int count, char **arguments)
{
    static ${input_type} input[${NAME}_INPUTS];
    static int32_t logits[${NAME}_LOGITS];
    static char path[4096];
    unsigned long inputs = 0, all = 0, wrong = 0;
    if (count != 2) {
        fprintf(stderr, "usage: %s ${name}.golden\n", arguments[0]);
        return 2;
    }
    for (int32_t layer = 0; layer < ${NAME}_LAYERS; ++layer) {
        if (golden_files[layer].name == NULL) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", arguments[1], golden_files[layer].name);
        golden[layer] = fopen(path, "r");
        if (golden[layer] == NULL) {
            perror(path);
            return 2;
        }
    }
    while (read_input(input)) {
        ${name}_run(input, logits);
        ++inputs;
    }
    for (int32_t layer = 1; layer < ${NAME}_LAYERS; ++layer) {
        int32_t value;
        if (golden_files[layer].name == NULL) {
            continue;
        }
        if (read_integer(layer, &value)) {
            ++differing[layer]; /* The file holds more. */
        }
        printf("%10lu of %10lu differ: %s\n", differing[layer], compared[layer],
               golden_files[layer].name);
        all += compared[layer];
        wrong += differing[layer];
    }
    printf("%lu of %lu integers of %lu inputs differ\n", wrong, all, inputs);
    return wrong != 0 || inputs == 0;
}

#endif
