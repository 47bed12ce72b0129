/*
 * salvage - `cairn metadata salvage`: after a rebuild, what the shards still say of objects that are newer than the backup.
 *
 * A shard's header says whose it is, and the last extent of an object carries the record that was then committed
 * (docs/formats/segment.md). So: all shards of forgotten sessions are listed and asked for both; an object whose extents are all
 * there with k shards each is committed again (OBJECT_ADOPT), in the order of the times of the lost commits, never over
 * something newer. Each is one command: a run that ends halfway is run again, and finds the rest.
 * With `discard` what then is left belongs to nobody, and the sweep frees it (SESSION_SETTLE): never while a disk is away.
 *
 * One run at a time; its result is kept until the next one begins or the process ends.
 * Thread: salvage_start and salvage_answer from any thread; create and destroy by the main thread.
 */
#ifndef SERVER_SALVAGE_H
#define SERVER_SALVAGE_H

#include "common/base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct server;
struct salvage;

struct salvage *salvage_create(struct server *server);
/* Stops a run and waits for it. NULL is fine. Before the services that it asks end. */
void salvage_destroy(struct salvage *salvage);
/* Begins a run; false: one is under way. partial: also with disks away, whose shards then count as missing: what is brought
 * back is repaired, and should they return their shards are of no use any more. */
bool salvage_start(struct salvage *salvage, bool partial, bool discard);
/* Names: docs/ADMIN-API.md, "metadata/salvage". Gives. */
json_t *salvage_answer(struct salvage *salvage);

#endif
