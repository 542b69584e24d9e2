/* A neuron with a membrane. Strides of 0: all channels alike. */
typedef struct {
    int32_t channels;
    int32_t levels;            /* largest count D */
    int32_t scale;             /* what one unit of current adds to the membrane */
    int32_t leak;              /* bits by which the membrane is shifted */
    int32_t thresholds_stride, step_stride, bias_stride;
    const int32_t *thresholds; /* [channels][levels], ascending */
    const int32_t *step;       /* [channels], what a spike takes from the membrane */
    const int32_t *bias;       /* [channels], per time step */
} spk_neuron;
