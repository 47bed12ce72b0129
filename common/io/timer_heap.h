/*
 * timer_heap - deadlines of one serial executor, earliest first.
 *
 * A timer's `impl` holds its place in the heap. Thread: the executor's own. Memory: borrows the timers.
 */
#ifndef COMMON_IO_TIMER_HEAP_H
#define COMMON_IO_TIMER_HEAP_H

#include "common/base/env.h"

#include <stddef.h>
#include <stdint.h>

struct timer_heap {
    struct timer **items;
    size_t count;
    size_t capacity;
};

void timer_heap_done(struct timer_heap *heap);
/* The timer's deadline is set; it is not armed. */
void timer_heap_add(struct timer_heap *heap, struct timer *timer);
void timer_heap_remove(struct timer_heap *heap, struct timer *timer); /* harmless if not armed */
/* The earliest timer, NULL when there is none. */
struct timer *timer_heap_first(const struct timer_heap *heap);
/* Removes and runs every timer whose deadline has come; those started meanwhile wait for the next call. */
void timer_heap_run_due(struct timer_heap *heap, uint64_t now_ns);

#endif
