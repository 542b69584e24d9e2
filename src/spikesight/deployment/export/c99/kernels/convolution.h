/* A convolution; a matrix is one of a single pixel. */
typedef struct {
    int32_t height, width;   /* of the map that it reads */
    int32_t groups;
    int32_t inputs, outputs; /* channels of a group */
    int32_t kernel, stride, padding;
    int32_t row;             /* bytes of the weights of an input channel */
    const int8_t *weights;   /* [kernel][kernel][groups][inputs][outputs] */
} spk_convolution;
