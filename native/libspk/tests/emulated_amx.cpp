// AMX's kernels for a processor without them: slow, and equal in every integer.
#define SPK_EMULATE_AMX
#include "kernels/amx.cpp"
#include "kernels/amx_products.cpp"
