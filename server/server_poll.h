/*
 * server_poll - asks node and metadata every few seconds how they are: free bytes for placement, numbers for /metrics.
 *
 * One NODE_DISK_STATUS and one META_QRY_STATUS at a time; what they answered last is kept, so that /metrics answers at
 * once also while a disk hangs. Thread: the `server` executor; server_poll_copy() from any thread.
 */
#ifndef SERVER_SERVER_POLL_H
#define SERVER_SERVER_POLL_H

#include "common/rpc/metadata_messages.h"
#include "common/rpc/node_messages.h"
#include "server/upkeep.h"

struct server;
struct server_poll;

/* Without what would point into an answer (path, reason). */
struct server_poll_view {
    bool has_meta;             /* false: metadata has not answered yet */
    struct meta_status meta;
    uint32_t disk_count;
    struct node_disk_status_entry disks[NODE_DISKS_MAX];
};

/* On the executor, where on_upkeep_told is called too, each time that the metadata have answered. */
struct server_poll *server_poll_start(struct server *server, void (*on_upkeep_told)(void *data, struct upkeep upkeep),
                                      void *data);
/* From any thread; poll may be NULL: an empty view. */
void server_poll_copy(struct server_poll *poll, struct server_poll_view *ret_view);
/* On the executor; nobody copies any more. Freed before done. */
void server_poll_stop(struct server_poll *poll, void (*done)(void *data), void *data);

#endif
