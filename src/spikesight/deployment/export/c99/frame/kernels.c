
#ifndef SPK_DECLARATIONS

/* ---- kernels: one copy of each, not one per layer ---- */

#if defined(__GNUC__)
#define SPK_KERNEL static __attribute__((noinline))
#else
#define SPK_KERNEL static
#endif

