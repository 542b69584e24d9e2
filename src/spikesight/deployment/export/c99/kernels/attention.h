/* An attention product Q (K^T V), head by head. */
typedef struct {
    int32_t tokens; /* pixels of keys and values */
    int32_t heads;
    int32_t width;  /* channels of a head */
} spk_attention;
