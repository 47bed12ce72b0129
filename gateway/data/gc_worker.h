/*
 * gc_worker - frees the shards of deleted extents, once no read can need them, and takes them off the gc queue.
 *
 * An item is done when every one of its disks has said that the shards are gone; a disk that is away keeps the item
 * in the queue until it is back, or removed from the map. An item whose index some live session has not passed is
 * left alone, and all behind it.
 * Thread: its executor (serial).
 */
#ifndef GATEWAY_DATA_GC_WORKER_H
#define GATEWAY_DATA_GC_WORKER_H

#include "gateway/data/data_store.h"

struct gc_worker;

struct gc_worker_config {
    struct data_store *store;
    struct executor *executor;
    bool (*may)(void *data);       /* asked before each pass: false: not this process's to do now. NULL: always */
    void *may_data;
    uint32_t idle_ms;              /* between passes when there is nothing to do; 0: 1000 */
};

struct gc_worker *gc_worker_start(const struct gc_worker_config *config);
void gc_worker_kick(struct gc_worker *worker);            /* on the executor: look now */
/* done on the executor; the worker is freed before. */
void gc_worker_stop(struct gc_worker *worker, void (*done)(void *data), void *data);
uint64_t gc_worker_freed(const struct gc_worker *worker); /* extents, since the start */

#endif
