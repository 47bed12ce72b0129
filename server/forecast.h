/*
 * forecast - what a change of disks would do, told before it is made: how long the moves take, and which failure domain rules it
 * strengthens or breaks.
 *
 * The placement groups as they are, and as the plan would have them (cluster_layout.h), each scored by layout_score(): does a group bear
 * the loss of one zone, one rack, one node, and how many shards of an extent stand in one of them at most?
 * Thread: any that may block.
 */
#ifndef SERVER_FORECAST_H
#define SERVER_FORECAST_H

#include "common/rpc/metadata_messages.h"

#include <jansson.h>

struct server;

/* The member "failure_domains" of an answer, if these disks were to leave (none: if the groups were planned anew); null where no plan
 * can be made, or there is no cluster. Gives. Names: docs/ADMIN-API.md. */
json_t *forecast_domains(struct server *server, const struct meta_cluster_reply *map, const struct disk_id *leaving, unsigned count);
/* The same, and "eta_seconds" for so many bytes, by the rate of the last moves (null: nothing was moved yet), set in `json`.
 * count 0: no disk leaves, and failure_domains is null. */
void forecast_add(struct server *server, const struct meta_cluster_reply *map, const struct disk_id *leaving, unsigned count,
                  uint64_t bytes, json_t *json);

#endif
