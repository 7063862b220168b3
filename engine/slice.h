/* engine/slice.h - how soon a thread that wakes gets a processor.
 *
 * Since Linux 6.12 the fair scheduler lets a thread that wakes preempt one whose
 * slice is longer (EEVDF, PREEMPT_SHORT); whatever it runs, it gets no more of the
 * processor than its share. Who waits to take a guest over asks for the shortest:
 * beside it ends the process that it follows, and the kernel takes a millisecond
 * and more for that, on a processor that it would wait for. Who serves asks for one
 * between that and the usual one: it preempts processors of its guest that only
 * compute, and is itself preempted by who waits for its death.
 *
 * It is a wish: an older kernel, a real-time policy or a filter that refuses the
 * call leave all as it is. For the calling thread only. Source: sched_setattr(2),
 * sched_runtime of SCHED_OTHER. */
#ifndef ENGINE_SLICE_H
#define ENGINE_SLICE_H

/* 0 or a negative errno; after an error the slice is what it was. */
int slice_shortest(void);
int slice_serving(void);

#endif
