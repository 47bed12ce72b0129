/*
 * server_background - the work nobody waits for: freeing what was deleted, sweeping what sessions left behind,
 * marking and rebuilding what is missing. Each worker is gateway/data's; this file starts, feeds and stops them.
 * Thread: the `server` executor.
 */
#ifndef SERVER_SERVER_BACKGROUND_H
#define SERVER_SERVER_BACKGROUND_H

#include "common/base/error.h"
#include "common/base/id.h"
#include "gateway/data/repair_walk.h"
#include "server/server_poll.h"
#include "server/upkeep.h"

#include <stdint.h>

struct server;
struct server_background;

struct background_progress {
    uint64_t rebuilt_extents, rebuilt_bytes, failed_extents;
    double extents_per_second; /* of the repair under way; 0: none */
    uint64_t freed_extents;
    uint64_t swept_shards;     /* orphans */
    bool repair_paused;
    double moved_bytes_per_second;  /* of the moves under way; 0: none */
    double moved_bytes_per_second_seen; /* of the last moves since the start; 0: there were none */
    struct repair_walk_counts walk; /* of shards that stand where they should not */
};

/* After the session is open; from the main thread. */
struct server_background *background_start(struct server *server);
/* A disk's state changed: its extents are marked (lost) or checked (back). From any thread. */
void background_disk_changed(struct server_background *background, struct disk_id disk, bool usable);
/* Repair looks at once. From any thread. */
void background_look(struct server_background *background);
/* What operators have said of it. From any thread. */
void background_upkeep(struct server_background *background, struct upkeep upkeep);
/* A shard does not match its checksums: it is marked missing and rebuilt. From any thread. */
void background_shard_corrupt(struct server_background *background, struct disk_id disk, struct extent_id extent,
                              uint8_t index);
/* What disks and metadata answered last. From any thread; NULL: nothing yet. */
void background_view(struct server_background *background, struct server_poll_view *ret_view);
void background_progress(struct server_background *background, struct background_progress *ret_progress);
/* Stops the workers and waits for calls under way; from the main thread. NULL is fine. */
void background_stop(struct server_background *background);

#endif
