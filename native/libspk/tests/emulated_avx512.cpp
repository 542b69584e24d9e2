// AVX-512's kernels for a processor without them: slow, and equal in every integer.
#define SPK_EMULATE_AVX512
#include "kernels/avx512.cpp"
#include "kernels/avx512_finish.cpp"
#include "kernels/avx512_products.cpp"
