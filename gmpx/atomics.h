/* Atomics, fences and the CPU's pause hint for gmpx's nogil code.
 *
 * Every shared word is an opaque struct, so that a plain read or write of it does not
 * compile. Each operation is spelled gm_<op>_<type>_<order>: the order is never implied.
 * Types: u32, u64, i64, ptr (void *). This header holds no state: a static variable here
 * would exist once per extension that includes it.
 *
 * Two implementations, one interface: C11's <stdatomic.h>, and MSVC's intrinsics for the
 * compilers that lack it (there every order is at least as strong as its name says).
 */
#ifndef GMPX_ATOMICS_H
#define GMPX_ATOMICS_H

#include <stdint.h>

#if defined(_MSC_VER) && !defined(__clang__)
#  define GM_INLINE static __forceinline
#else
#  define GM_INLINE static inline __attribute__((always_inline, unused))
#endif

#if defined(_MSC_VER) && (!defined(__STDC_VERSION__) || defined(__STDC_NO_ATOMICS__))
#  include <intrin.h>

typedef struct { volatile long v; } gm_u32;
typedef struct { volatile __int64 v; } gm_u64;
typedef struct { volatile __int64 v; } gm_i64;
typedef struct { void *volatile v; } gm_ptr;

/* Interlocked operations are full barriers; a plain volatile access needs one beside it. */
#  if defined(_M_ARM64)
GM_INLINE void gm_msvc_fence(void) { __dmb(0xB); _ReadWriteBarrier(); }
#  else
GM_INLINE void gm_msvc_fence(void) { _mm_mfence(); _ReadWriteBarrier(); }
#  endif
#  define GM_MSVC_TYPE(T, CT, RT, XCHG, CAS)                                         \
    GM_INLINE CT gm_load_##T##_relaxed(gm_##T *a) { return (CT)a->v; }                    \
    GM_INLINE CT gm_load_##T##_acquire(gm_##T *a) {                                       \
        CT r = (CT)a->v; gm_msvc_fence(); return r; }                                    \
    GM_INLINE CT gm_load_##T##_seqcst(gm_##T *a) {                                        \
        CT r; gm_msvc_fence(); r = (CT)a->v; gm_msvc_fence(); return r; }               \
    GM_INLINE void gm_store_##T##_relaxed(gm_##T *a, CT x) { a->v = (RT)x; }              \
    GM_INLINE void gm_store_##T##_release(gm_##T *a, CT x) {                              \
        gm_msvc_fence(); a->v = (RT)x; }                                                 \
    GM_INLINE void gm_store_##T##_seqcst(gm_##T *a, CT x) { XCHG(&a->v, (RT)x); }         \
    GM_INLINE CT gm_exchange_##T##_acqrel(gm_##T *a, CT x) {                              \
        return (CT)XCHG(&a->v, (RT)x); }                                                  \
    GM_INLINE CT gm_exchange_##T##_seqcst(gm_##T *a, CT x) {                              \
        return (CT)XCHG(&a->v, (RT)x); }                                                  \
    GM_INLINE int gm_cas_##T##_acqrel(gm_##T *a, CT old, CT x) {                          \
        return CAS(&a->v, (RT)x, (RT)old) == (RT)old; }                                   \
    GM_INLINE int gm_cas_##T##_seqcst(gm_##T *a, CT old, CT x) {                          \
        return CAS(&a->v, (RT)x, (RT)old) == (RT)old; }
#  define GM_MSVC_ADD(T, CT, RT, ADD)                                                     \
    GM_INLINE CT gm_fetch_add_##T##_relaxed(gm_##T *a, CT x) {                            \
        return (CT)ADD(&a->v, (RT)x); }                                                   \
    GM_INLINE CT gm_fetch_add_##T##_seqcst(gm_##T *a, CT x) {                             \
        return (CT)ADD(&a->v, (RT)x); }
GM_MSVC_TYPE(u32, uint32_t, long, _InterlockedExchange, _InterlockedCompareExchange)
GM_MSVC_TYPE(u64, uint64_t, __int64, _InterlockedExchange64, _InterlockedCompareExchange64)
GM_MSVC_TYPE(i64, int64_t, __int64, _InterlockedExchange64, _InterlockedCompareExchange64)
GM_MSVC_TYPE(ptr, void *, void *, _InterlockedExchangePointer,
             _InterlockedCompareExchangePointer)
GM_MSVC_ADD(u32, uint32_t, long, _InterlockedExchangeAdd)
GM_MSVC_ADD(u64, uint64_t, __int64, _InterlockedExchangeAdd64)
GM_MSVC_ADD(i64, int64_t, __int64, _InterlockedExchangeAdd64)
GM_INLINE uint32_t gm_fetch_or_u32_seqcst(gm_u32 *a, uint32_t x) {
    return (uint32_t)_InterlockedOr(&a->v, (long)x); }
GM_INLINE uint32_t gm_fetch_and_u32_seqcst(gm_u32 *a, uint32_t x) {
    return (uint32_t)_InterlockedAnd(&a->v, (long)x); }
GM_INLINE void gm_fence_seqcst(void) { gm_msvc_fence(); }

#else
#  include <stdatomic.h>

typedef struct { _Atomic(uint32_t) v; } gm_u32;
typedef struct { _Atomic(uint64_t) v; } gm_u64;
typedef struct { _Atomic(int64_t) v; } gm_i64;
typedef struct { _Atomic(void *) v; } gm_ptr;

#  define GM_C11_TYPE(T, CT)                                                              \
    GM_INLINE CT gm_load_##T##_relaxed(gm_##T *a) {                                       \
        return atomic_load_explicit(&a->v, memory_order_relaxed); }                       \
    GM_INLINE CT gm_load_##T##_acquire(gm_##T *a) {                                       \
        return atomic_load_explicit(&a->v, memory_order_acquire); }                       \
    GM_INLINE CT gm_load_##T##_seqcst(gm_##T *a) {                                        \
        return atomic_load_explicit(&a->v, memory_order_seq_cst); }                       \
    GM_INLINE void gm_store_##T##_relaxed(gm_##T *a, CT x) {                              \
        atomic_store_explicit(&a->v, x, memory_order_relaxed); }                          \
    GM_INLINE void gm_store_##T##_release(gm_##T *a, CT x) {                              \
        atomic_store_explicit(&a->v, x, memory_order_release); }                          \
    GM_INLINE void gm_store_##T##_seqcst(gm_##T *a, CT x) {                               \
        atomic_store_explicit(&a->v, x, memory_order_seq_cst); }                          \
    GM_INLINE CT gm_exchange_##T##_acqrel(gm_##T *a, CT x) {                              \
        return atomic_exchange_explicit(&a->v, x, memory_order_acq_rel); }                \
    GM_INLINE CT gm_exchange_##T##_seqcst(gm_##T *a, CT x) {                              \
        return atomic_exchange_explicit(&a->v, x, memory_order_seq_cst); }                \
    GM_INLINE int gm_cas_##T##_acqrel(gm_##T *a, CT old, CT x) {                          \
        return atomic_compare_exchange_strong_explicit(                                   \
            &a->v, &old, x, memory_order_acq_rel, memory_order_acquire); }                \
    GM_INLINE int gm_cas_##T##_seqcst(gm_##T *a, CT old, CT x) {                          \
        return atomic_compare_exchange_strong_explicit(                                   \
            &a->v, &old, x, memory_order_seq_cst, memory_order_seq_cst); }
#  define GM_C11_ADD(T, CT)                                                               \
    GM_INLINE CT gm_fetch_add_##T##_relaxed(gm_##T *a, CT x) {                            \
        return atomic_fetch_add_explicit(&a->v, x, memory_order_relaxed); }               \
    GM_INLINE CT gm_fetch_add_##T##_seqcst(gm_##T *a, CT x) {                             \
        return atomic_fetch_add_explicit(&a->v, x, memory_order_seq_cst); }
GM_C11_TYPE(u32, uint32_t)
GM_C11_TYPE(u64, uint64_t)
GM_C11_TYPE(i64, int64_t)
GM_C11_TYPE(ptr, void *)
GM_C11_ADD(u32, uint32_t)
GM_C11_ADD(u64, uint64_t)
GM_C11_ADD(i64, int64_t)
GM_INLINE uint32_t gm_fetch_or_u32_seqcst(gm_u32 *a, uint32_t x) {
    return atomic_fetch_or_explicit(&a->v, x, memory_order_seq_cst); }
GM_INLINE uint32_t gm_fetch_and_u32_seqcst(gm_u32 *a, uint32_t x) {
    return atomic_fetch_and_explicit(&a->v, x, memory_order_seq_cst); }
GM_INLINE void gm_fence_seqcst(void) { atomic_thread_fence(memory_order_seq_cst); }
#endif

/* One turn of a spin loop: tells the core that another thread must move first. */
#if defined(_MSC_VER) && !defined(__clang__)
#  include <intrin.h>
#  if defined(_M_ARM64) || defined(_M_ARM)
GM_INLINE void gm_pause(void) { __yield(); }
#  else
GM_INLINE void gm_pause(void) { _mm_pause(); }
#  endif
#elif defined(__x86_64__) || defined(__i386__)
GM_INLINE void gm_pause(void) { __asm__ __volatile__("pause" ::: "memory"); }
#elif defined(__aarch64__)
/* isb stalls for about as long as x86's pause; yield is a no-op on most cores. */
GM_INLINE void gm_pause(void) { __asm__ __volatile__("isb" ::: "memory"); }
#elif defined(__arm__)
GM_INLINE void gm_pause(void) { __asm__ __volatile__("yield" ::: "memory"); }
#else
GM_INLINE void gm_pause(void) { atomic_signal_fence(memory_order_seq_cst); }
#endif

#endif /* GMPX_ATOMICS_H */
