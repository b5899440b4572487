/* The first chunk of a worker's data stack.
 *
 * CPython (3.11 and later) keeps Python frames in chunks of 16 KB, each an mmap of its own, and
 * gives every greenlet a chain of them: a page for a goroutine that parks two frames deep. A worker
 * therefore begins with a small root chunk that lies in the worker's own memory (gm_root_begin),
 * and CPython pushes its 16 KB when that overflows.
 *
 * Invariants
 *   DS1 The root is the worker's memory: begun before the worker's first Python frame, taken back
 *       (gm_root_end) after its last, in the same breath in which the worker is freed. CPython
 *       never pops a root chunk, so between the two the thread state's chain, or the one that
 *       greenlet has put aside for the worker, ends in it.
 *   DS2 Nobody else frees it. Who drops the chain of a worker that never came to its end (greenlet,
 *       if the thread has died; CPython, if the thread state is deleted at exit or in the child of a
 *       fork) frees each chunk through the arena allocator with its size, and ours passes a root's
 *       by: the worker's memory has been abandoned with its stack.
 *   DS3 A chunk that is popped goes to a pool, so that a call that crosses a chunk's end costs no
 *       mmap and no munmap each time. The pool has a few, or as many as there are roots: each worker
 *       that needs a second chunk finds one there when it is called again, and with the workers that
 *       are let go the pool shrinks. It is never more than their first chunks would be without
 *       roots. All in it came from the allocator before ours, and may go back there.
 *   DS4 The allocator is called with and without the GIL (PyThreadState_Delete wants none, an
 *       interpreter may have one of its own): the pool has a flag. Who finds it taken does not wait
 *       but asks the allocator before.
 *
 * Where the layout is not known (3.15, free-threaded builds) or the probe at import finds it
 * different, gm_root_room is 0: workers begin with none, as greenlet's all do.
 */
#ifndef GMPX_DATASTACK_H
#define GMPX_DATASTACK_H

#include <Python.h>
#include "../../atomics.h"

#define GM_DATASTACK (PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030F0000 \
                      && !defined(Py_GIL_DISABLED))

/* A root's size: of the 4,000 bytes that a parked goroutine may have, what the C stack leaves (which
 * is larger in 3.14). Five to six usual frames lie in it. Nothing else asks the arena allocator for
 * such a size, and with the worker's struct before it and malloc's word it is a multiple of 16. */
#if PY_VERSION_HEX >= 0x030E0000
#  define GM_ROOT_BYTES 856
#else
#  define GM_ROOT_BYTES 1016
#endif
enum {
    GM_CHUNK_BYTES = 16 * 1024,         /* what CPython takes at least */
    GM_CHUNKS_KEPT = 32,
};

/* Bytes of a root, or 0. Written at import alone. */
static size_t gm_root_room = 0;

#if GM_DATASTACK

static PyObjectArenaAllocator gm_arenas;        /* constant once ours is in: the one before */
static struct {
    gm_u32 taken;                               /* guards the rest */
    gm_u32 n;                                   /* read without it as a hint */
    _PyStackChunk *first;                       /* through previous */
    gm_u32 roots;                               /* written with the GIL, without the flag */
} gm_chunks;

GM_INLINE int gm_chunks_enter(void) { return gm_cas_u32_acqrel(&gm_chunks.taken, 0, 1); }
GM_INLINE void gm_chunks_leave(void) { gm_store_u32_release(&gm_chunks.taken, 0); }

/* NULL if there is none, or another thread is at it (DS4). */
static void *gm_chunk_take(void) {
    _PyStackChunk *c = NULL;
    if (gm_load_u32_relaxed(&gm_chunks.n) > 0 && gm_chunks_enter()) {
        c = gm_chunks.first;
        if (c != NULL) {
            gm_chunks.first = c->previous;
            gm_store_u32_relaxed(&gm_chunks.n, gm_load_u32_relaxed(&gm_chunks.n) - 1);
        }
        gm_chunks_leave();
    }
    return c;
}

GM_INLINE int gm_chunks_full(uint32_t n) {
    return n >= GM_CHUNKS_KEPT && n >= gm_load_u32_relaxed(&gm_chunks.roots);
}

static void *gm_arena_alloc(void *ctx, size_t size) {
    void *p = size == GM_CHUNK_BYTES ? gm_chunk_take() : NULL;
    return p != NULL ? p : gm_arenas.alloc(ctx, size);
}

static void gm_arena_free(void *ctx, void *p, size_t size) {
    if (size == GM_CHUNK_BYTES) {
        uint32_t n = gm_load_u32_relaxed(&gm_chunks.n);
        if (!gm_chunks_full(n) && gm_chunks_enter()) {
            ((_PyStackChunk *)p)->previous = gm_chunks.first;
            gm_chunks.first = (_PyStackChunk *)p;
            gm_store_u32_relaxed(&gm_chunks.n, gm_load_u32_relaxed(&gm_chunks.n) + 1);
            gm_chunks_leave();
            return;
        }
    } else if (size == GM_ROOT_BYTES) {         /* DS2 */
        return;
    }
    gm_arenas.free(ctx, p, size);
}

/* One root more or less. */
static void gm_roots_add(int more) {
    uint32_t n = gm_load_u32_relaxed(&gm_chunks.roots) + (uint32_t)more;
    void *p;
    gm_store_u32_relaxed(&gm_chunks.roots, n);
    if (gm_load_u32_relaxed(&gm_chunks.n) > GM_CHUNKS_KEPT && gm_load_u32_relaxed(&gm_chunks.n) > n
            && (p = gm_chunk_take()) != NULL) {
        gm_arenas.free(gm_arenas.ctx, p, GM_CHUNK_BYTES);
    }
}

/* With the GIL, once, if the probe has found what it expects. */
static void gm_root_enable(void) {
    PyObjectArenaAllocator ours;
    if (gm_root_room == 0) {
        PyObject_GetArenaAllocator(&gm_arenas);
        ours.ctx = gm_arenas.ctx;               /* who reads the three while they change gets */
        ours.alloc = gm_arena_alloc;            /* the old or the new, and each fits the ctx */
        ours.free = gm_arena_free;
        PyObject_SetArenaAllocator(&ours);
        gm_root_room = GM_ROOT_BYTES;
    }
}

/* Makes at (GM_ROOT_BYTES) the root of the greenlet that runs on ts. NULL if it has one: a trace
 * function of greenlet's has run a Python frame on it already. Else its gm_greenlet_token. */
static void *gm_root_begin(void *p, void *at) {
    PyThreadState *ts = (PyThreadState *)p;
    _PyStackChunk *root = (_PyStackChunk *)at;
    if (ts->datastack_chunk != NULL) {
        return NULL;
    }
    root->previous = NULL;
    root->size = GM_ROOT_BYTES;
    root->top = 0;
    ts->datastack_chunk = root;
    ts->datastack_top = &root->data[1];         /* so that no frame's pop is the chunk's */
    ts->datastack_limit = (PyObject **)((char *)root + GM_ROOT_BYTES);
    gm_roots_add(1);
    return root;
}

/* Takes it back (DS1). Whatever Python code the greenlet runs from here on begins a chain of
 * CPython's, which greenlet frees. */
static void gm_root_end(void *p, void *at) {
    PyThreadState *ts = (PyThreadState *)p;
    if (ts->datastack_chunk == (_PyStackChunk *)at) {
        ts->datastack_chunk = NULL;
        ts->datastack_top = NULL;
        ts->datastack_limit = NULL;
        gm_roots_add(-1);
    }
}

/* ---- the probe: Python code on a root of the probe's own ------------------------------------- */

static struct {
    _PyStackChunk *root, *chunk;
    PyObject **top, **limit;
} gm_probe_saved;

static int gm_probe_begin(void) {
    PyThreadState *ts = PyThreadState_Get();
    void *at = PyMem_Malloc(GM_ROOT_BYTES);
    if (at == NULL) {
        return -1;
    }
    gm_probe_saved.chunk = ts->datastack_chunk;
    gm_probe_saved.top = ts->datastack_top;
    gm_probe_saved.limit = ts->datastack_limit;
    ts->datastack_chunk = NULL;
    gm_probe_saved.root = gm_root_begin(ts, at);
    return 0;
}

/* How many chunks lie on the root, or -1 if the last is not as it should be. */
static int gm_probe_look(void) {
    PyThreadState *ts = PyThreadState_Get();
    _PyStackChunk *c = ts->datastack_chunk;
    int n = 0;
    if (c == NULL || ts->datastack_top <= &c->data[1] || ts->datastack_top > ts->datastack_limit
            || (char *)ts->datastack_limit > (char *)c + c->size) {
        return -1;
    }
    for (; c != gm_probe_saved.root; c = c->previous, n++) {
        if (c == NULL || c->size < GM_CHUNK_BYTES) {
            return -1;
        }
    }
    return n;
}

/* True if the root is as it was at first. */
static int gm_probe_end(void) {
    PyThreadState *ts = PyThreadState_Get();
    _PyStackChunk *root = gm_probe_saved.root;
    int ok = ts->datastack_chunk == root && ts->datastack_top == &root->data[1]
        && (char *)ts->datastack_limit == (char *)root + GM_ROOT_BYTES && root->previous == NULL;
    ts->datastack_chunk = gm_probe_saved.chunk;
    ts->datastack_top = gm_probe_saved.top;
    ts->datastack_limit = gm_probe_saved.limit;
    gm_roots_add(-1);
    if (ok) {
        PyMem_Free(root);                       /* else something may point there */
    }
    return ok;
}

#else

static void gm_root_enable(void) {}
static void *gm_root_begin(void *ts, void *at) { (void)ts; (void)at; return NULL; }
static void gm_root_end(void *ts, void *at) { (void)ts; (void)at; }
static int gm_probe_begin(void) { return -1; }
static int gm_probe_look(void) { return -1; }
static int gm_probe_end(void) { return 0; }

#endif

#endif /* GMPX_DATASTACK_H */
