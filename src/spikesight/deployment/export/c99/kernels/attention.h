/* An attention product Q (K^T V), head by head. */
typedef struct {
    int32_t tokens; /* pixels of keys and values */
    int32_t heads;
    int32_t width;  /* channels of a head's queries and keys */
    int32_t depth;  /* channels of a head's values */
} spk_attention;
