/*
 * data_lock - a spin lock for critical sections of a few dozen instructions without calls that block.
 *
 * The seam gives no mutex, and nothing here may wait for I/O: counters, lists and small copies only.
 */
#ifndef GATEWAY_DATA_DATA_LOCK_H
#define GATEWAY_DATA_DATA_LOCK_H

#include <sched.h>
#include <stdatomic.h>

struct data_lock {
    atomic_flag held;
};

static inline void data_lock_init(struct data_lock *lock)
{
    atomic_flag_clear(&lock->held);
}

/* Yields after a short spin: on a busy machine the holder may have been preempted. */
static inline void data_lock_take(struct data_lock *lock)
{
    for (unsigned spins = 0; atomic_flag_test_and_set_explicit(&lock->held, memory_order_acquire); spins++) {
        if (spins >= 64) {
            (void)sched_yield(); /* cannot fail on Linux */
        }
    }
}

static inline void data_lock_give(struct data_lock *lock)
{
    atomic_flag_clear_explicit(&lock->held, memory_order_release);
}

#endif
