/* A window that slides over a map. */
typedef struct {
    int32_t height, width, channels; /* of the map */
    int32_t kernel, stride, padding;
} spk_window;
