/*
 * fsck - `cairn fsck`: proves, while requests are served, that metadata and disks say the same.
 *
 * Two phases on a thread of its own: the audit of the state machine (metadata/machine_audit.h), then every extent against
 * the shards on the disks, in both directions. What looks wrong is looked at again before it is reported: an extent's
 * record is read before and after the disk was asked, and counts only if its epoch and the map did not change, so writes,
 * deletes and repair under way are no findings. Nothing is deleted; a shard that is absent is reported to repair, as a read
 * would.
 * One run at a time; its result is kept until the next one begins or the process ends.
 * Thread: fsck_answer and fsck_start from any thread; create and destroy by the main thread.
 */
#ifndef SERVER_FSCK_H
#define SERVER_FSCK_H

#include "common/base/error.h"

#include <jansson.h>

struct server;
struct fsck;

struct fsck *fsck_create(struct server *server);
/* Stops a run and waits for it. NULL is fine. Before the services that it asks end. */
void fsck_destroy(struct fsck *fsck);
/* Begins a run; false: one is under way. */
bool fsck_start(struct fsck *fsck);
/* Names: docs/ADMIN-API.md, "fsck". Gives. */
json_t *fsck_answer(struct fsck *fsck);

#endif
