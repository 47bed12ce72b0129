/*
 * damage_report - what a storage node's scrub, reads and start found damaged, until the voter that leads has heard it.
 *
 * Kept in memory, at most DAMAGE_MAX of them: what is dropped, or lost with the process, the next pass finds again. The leader looks
 * at each shard once more before it has it rebuilt (gateway/data/suspect_queue.h), so that a word too many does no harm.
 */
#ifndef SERVER_DAMAGE_REPORT_H
#define SERVER_DAMAGE_REPORT_H

#include "common/base/id.h"
#include "common/rpc/rpc.h"

#define DAMAGE_MAX 1024

struct damage_report;
struct env;

struct damage_report *damage_report_create(struct env *env, struct executor *completions);
/* Any thread. */
void damage_report_add(struct damage_report *report, struct disk_id disk, struct extent_id extent, uint8_t index);
/* On `completions`, one at a time: tells the voter behind the channel, which leads, what waits. False: nothing does, or it is
 * being told; else done(data) runs there once it has answered. */
bool damage_report_tell(struct damage_report *report, struct rpc_channel *channel, void (*done)(void *data), void *data);
/* Nobody is told any more, and no disk is open. */
void damage_report_destroy(struct damage_report *report);

#endif
