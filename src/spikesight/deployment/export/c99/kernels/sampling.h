/* Sums over displaced points of a kernel, each weighed by a count. */
typedef struct {
    int32_t height, width;
    int32_t groups, channels; /* channels of a group */
    int32_t side;             /* of the kernel of points */
    int32_t offset_bits;      /* of an offset, after the binary point of a pixel */
    int32_t position_bits;    /* of a position */
} spk_sampling;
