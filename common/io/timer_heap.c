#include "common/io/timer_heap.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

static void heap_place(struct timer_heap *heap, size_t index, struct timer *timer)
{
    heap->items[index] = timer;
    timer->impl = (void *)(uintptr_t)index;
}

static void heap_up(struct timer_heap *heap, size_t index, struct timer *timer)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (heap->items[parent]->deadline_ns <= timer->deadline_ns) {
            break;
        }
        heap_place(heap, index, heap->items[parent]);
        index = parent;
    }
    heap_place(heap, index, timer);
}

static void heap_down(struct timer_heap *heap, size_t index, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->items[child + 1]->deadline_ns < heap->items[child]->deadline_ns) {
            child++;
        }
        if (timer->deadline_ns <= heap->items[child]->deadline_ns) {
            break;
        }
        heap_place(heap, index, heap->items[child]);
        index = child;
    }
    heap_place(heap, index, timer);
}

void timer_heap_done(struct timer_heap *heap)
{
    mem_free(heap->items);
    *heap = (struct timer_heap){ NULL, 0, 0 };
}

void timer_heap_add(struct timer_heap *heap, struct timer *timer)
{
    ASSERT(!timer->armed);
    if (heap->count == heap->capacity) {
        heap->capacity = heap->capacity == 0 ? 16 : heap->capacity * 2;
        heap->items = mem_realloc(heap->items, heap->capacity * sizeof(*heap->items));
    }
    heap->count++;
    timer->armed = true;
    heap_up(heap, heap->count - 1, timer);
}

void timer_heap_remove(struct timer_heap *heap, struct timer *timer)
{
    if (!timer->armed) {
        return;
    }
    size_t index = (size_t)(uintptr_t)timer->impl;
    ASSERT(index < heap->count && heap->items[index] == timer);
    timer->armed = false;
    heap->count--;
    struct timer *last = heap->items[heap->count];
    if (last == timer) {
        return;
    }
    if (index > 0 && last->deadline_ns < heap->items[(index - 1) / 2]->deadline_ns) {
        heap_up(heap, index, last);
    } else {
        heap_down(heap, index, last);
    }
}

struct timer *timer_heap_first(const struct timer_heap *heap)
{
    return heap->count > 0 ? heap->items[0] : NULL;
}

void timer_heap_run_due(struct timer_heap *heap, uint64_t now_ns)
{
    struct timer *first;
    /* A timer started by one of these has a deadline of now or later: with 0 ms it would run for ever. */
    for (size_t left = heap->count; left > 0; left--) {
        first = timer_heap_first(heap);
        if (first == NULL || first->deadline_ns > now_ns) {
            return;
        }
        timer_heap_remove(heap, first);
        first->task.run(&first->task);
    }
}
