/* libspk: runs deployed spiking networks (.spk files) as integers.
 *
 *     spk_network *network;
 *     if (spk_open("net.spk", &network) != SPK_OK) puts(spk_last_error());
 *     spk_options options = SPK_DEFAULTS;
 *     options.height = options.width = 224;
 *     spk_session *session;
 *     if (spk_prepare(network, &options, &session) != SPK_OK) puts(spk_last_error());
 *     spk_run(session, image, &logits);
 *     spk_release(session);
 *     spk_close(network);
 *
 * The integers are those of the network's definition, whatever the processor, the kernels and the
 * number of threads. A network may be shared by threads; a session serves one call at a time.
 * No function throws, exits or prints.
 */
#ifndef SPK_H
#define SPK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define SPK_EXPORT __declspec(dllexport)
#else
#define SPK_EXPORT __attribute__((visibility("default")))
#endif

/* Changes when a caller built against another header would go wrong. */
#define SPK_INTERFACE 1

typedef enum spk_status {
    SPK_OK = 0,
    SPK_NO_FILE = 1,      /* there is no such file, or it cannot be opened */
    SPK_DAMAGED = 2,      /* the file is cut off or its checksum differs */
    SPK_NO_NETWORK = 3,   /* the file holds no network whose ranges can be proved */
    SPK_NEWER = 4,        /* the file was written by a newer version */
    SPK_BAD_ARGUMENT = 5, /* a null pointer, a size that the network does not take, ... */
    SPK_NO_MEMORY = 6,
    SPK_INTERNAL = 7 /* a fault of this library */
} spk_status;

typedef struct spk_network spk_network;
typedef struct spk_session spk_session;

/* Of the library: SPK_INTERFACE when it was built. */
SPK_EXPORT int32_t spk_interface(void);
/* What went wrong in this thread's last call that did not give SPK_OK; never NULL. */
SPK_EXPORT const char *spk_last_error(void);

/* Reads a network and proves that it is one: checksum, every field, all ranges. */
SPK_EXPORT spk_status spk_open(const char *path, spk_network **network);
SPK_EXPORT spk_status spk_read(const void *bytes, size_t size, spk_network **network);
/* Sessions that were prepared from it go on. */
SPK_EXPORT void spk_close(spk_network *network);

typedef struct spk_info {
    int32_t steps;      /* time steps T */
    int32_t channels;   /* of an image or frame */
    int32_t stride;     /* height and width must be divisible by it */
    int32_t max_height; /* largest input that the ranges are proved for */
    int32_t max_width;
    int32_t outputs;
    int32_t neurons;
} spk_info;

typedef struct spk_output {
    const char *name;
    double scale;     /* real value of one unit, for inputs of the session's size */
    int32_t rank;     /* dimensions of `shape`: [B, K], [B, K, H, W] or [B, Q, K] */
    int64_t shape[4]; /* of a session */
} spk_output;

typedef struct spk_neuron {
    const char *name;
    int32_t levels;   /* largest count D */
    int32_t rank;     /* [B, C] or [B, C, H, W], of one time step */
    int64_t shape[4]; /* of a session */
} spk_neuron;

SPK_EXPORT spk_status spk_describe(const spk_network *network, spk_info *info);
/* How inputs are prepared and what classes are called (JSON of run.json), or NULL. */
SPK_EXPORT const char *spk_card(const spk_network *network);

typedef struct spk_options {
    int32_t batch;
    int32_t height; /* 0: the largest */
    int32_t width;
    int32_t frames;      /* 1: inputs are frames [B, T, C, H, W]; 0: images [B, C, H, W] */
    int32_t threads;     /* 0: one for each core */
    const char *kernels; /* NULL: the best here; "reference", "generic", "avx2", ... */
    const char *form;    /* NULL: the fastest of each layer and call; "dense", "sparse", ... */
} spk_options;

#define SPK_DEFAULTS {1, 0, 0, 0, 0, NULL, NULL}

/* The kernels that run on this processor, best first, separated by spaces. */
SPK_EXPORT const char *spk_kernels(void);

SPK_EXPORT spk_status spk_prepare(
    const spk_network *network, const spk_options *options, spk_session **session);
SPK_EXPORT void spk_release(spk_session *session);
SPK_EXPORT spk_status spk_output_of(
    const spk_session *session, int32_t index, spk_output *output);
SPK_EXPORT spk_status spk_neuron_of(
    const spk_session *session, int32_t index, spk_neuron *neuron);

/* Runs from rest over all time steps. `input`: normalised finite floats, as `frames` says.
 * `outputs`: one array per output, of its shape. */
SPK_EXPORT spk_status spk_run(spk_session *session, const float *input, int32_t *const *outputs);

/* Streams: one time step at a time, from a state that can be kept, moved and loaded again.
 * `input`: one frame per sample [B, C, H, W]. `outputs` (may be NULL): the sums so far. After T
 * steps, for which the ranges are proved, spk_reset must come first. */
SPK_EXPORT spk_status spk_step(spk_session *session, const float *input, int32_t *const *outputs);
SPK_EXPORT spk_status spk_reset(spk_session *session);
SPK_EXPORT size_t spk_state_size(const spk_session *session);
SPK_EXPORT spk_status spk_save_state(const spk_session *session, void *state);
/* A state of the same network, batch and size, whatever kernels and threads wrote it; one that no
 * inputs lead to is refused where it could do harm. */
SPK_EXPORT spk_status spk_load_state(spk_session *session, const void *state, size_t size);

/* Called after each neuron of each time step with its counts [B, C, H, W] or [B, C], during
 * spk_run and spk_step, in the calling thread. What runs is the same with and without. */
typedef void (*spk_observer)(
    void *context, int32_t neuron, int32_t step, const uint8_t *counts, size_t size);
SPK_EXPORT spk_status spk_observe(spk_session *session, spk_observer observer, void *context);

/* One line per layer of what ran last, with tabs between name, kernels, form, share of nonzero
 * counts that the layer wrote or "-", and microseconds. Valid until the session's next call. */
SPK_EXPORT const char *spk_report(spk_session *session);

#ifdef __cplusplus
}
#endif
#endif
