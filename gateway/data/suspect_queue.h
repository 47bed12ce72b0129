/*
 * suspect_queue - turns "this shard is lost or wrong" into EXTENT_MISSING proposals, after a second look.
 *
 * Fed by readers (data_repair_hook), by the node's on_corrupt and by scrubs. The current record must still have
 * the shard on the disk where the damage was seen: what a stale reader missed is no news.
 * Bounded: beyond SUSPECTS_MAX waiting ones further reports are dropped (the next read or scrub reports them again).
 * Thread: reports from any thread; the work on its executor.
 */
#ifndef GATEWAY_DATA_SUSPECT_QUEUE_H
#define GATEWAY_DATA_SUSPECT_QUEUE_H

#include "gateway/data/data_store.h"

#define SUSPECTS_MAX 1024

struct suspect_queue;

struct suspect_queue_config {
    struct data_store *store;
    struct executor *executor;
    void (*on_missing)(void *data); /* a shard was marked missing: wake the repair worker; may be NULL */
    void *data;
};

struct suspect_queue *suspect_queue_start(const struct suspect_queue_config *config);
void suspect_queue_report(struct suspect_queue *queue, struct extent_id extent, unsigned shard, struct disk_id disk);
/* For data_store.repair. */
struct data_repair_hook *suspect_queue_hook(struct suspect_queue *queue);
/* On the executor; nobody reports any more. Freed before done. */
void suspect_queue_stop(struct suspect_queue *queue, void (*done)(void *data), void *data);

#endif
