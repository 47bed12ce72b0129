/*
 * repair_worker - works off the repair queue: extents with the fewest spare shards first, one at a time; then walks on to
 * what stands on disks where it should not (repair_walk.h).
 *
 * Also marks, step by step, what a replaced disk held as missing (the sweeps of the cluster map), and frees the first
 * sets of extents that were brought from a smaller code to their class, once no read can know them.
 * The record is fetched again right before each rebuild; there is one repairer in the cluster (extent_rebuild.h).
 * Thread: its executor (serial); the counters from any thread.
 */
#ifndef GATEWAY_DATA_REPAIR_WORKER_H
#define GATEWAY_DATA_REPAIR_WORKER_H

#include "gateway/data/data_store.h"
#include "gateway/data/repair_walk.h"

struct repair_worker;

struct repair_worker_config {
    struct data_store *store;
    struct executor *executor;
    bool (*may)(void *data);       /* asked before each pass: false: not this process's to do now. NULL: always */
    void *may_data;
    uint64_t bytes_per_second;     /* read for repair; 0: no limit */
    uint32_t idle_ms;              /* between passes; 0: 2000 */
    /* An extent could not be rebuilt or moved; the next pass tries again. May be NULL. */
    void (*on_failed)(void *data, const struct extent *extent, const struct error *reason);
    void *data;
};

struct repair_progress {
    uint64_t repaired;             /* extents */
    uint64_t failed;               /* attempts that ended for want of shards or disks, tried again in the next pass */
    uint64_t bytes_read, bytes_written;
    uint64_t marked;               /* extents marked by sweeps of replaced disks */
    uint64_t waiting;              /* passed over for want of disks, over all passes */
    uint64_t passes;               /* through the whole queue */
    bool idle;                     /* the last pass found nothing that could be done */
    bool paused;
    struct repair_walk_counts walk;
};

struct repair_worker *repair_worker_start(const struct repair_worker_config *config);
void repair_worker_kick(struct repair_worker *worker);     /* on the executor: look now */
/* On the executor. Nothing is rebuilt or moved while it is paused; what is under way ends first. */
void repair_worker_pause(struct repair_worker *worker, bool paused);
void repair_worker_balance(struct repair_worker *worker, bool balance); /* on the executor: repair_walk_balance() */
void repair_worker_stop(struct repair_worker *worker, void (*done)(void *data), void *data); /* freed before done */
struct repair_progress repair_worker_progress(struct repair_worker *worker);

#endif
