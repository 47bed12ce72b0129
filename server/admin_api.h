/*
 * admin_api - the JSON API of the admin port, health and metrics.
 *
 * /healthz, /readyz and /metrics answer on the loop at once. The signed verbs below /admin/v1/ may ask disks and
 * metadata and wait for them: each request becomes a job on an executor of its own that may block, and is
 * answered back on the loop. Names and shapes: docs/ADMIN-API.md.
 * Thread: handlers on the admin loop, jobs on server->admin_jobs.
 */
#ifndef SERVER_ADMIN_API_H
#define SERVER_ADMIN_API_H

#include "common/http/http_admin.h"

#include <jansson.h>

struct meta_cluster_reply;
struct server;

/* Registers every path; before http_admin_start. */
void admin_api_register(struct server *server, struct http_admin *admin);

/* One verb: fills *ret_json (gives) and returns the HTTP status; on a status other than 200 the answer is
 * {"error": e->text}. Runs on the job executor. */
struct admin_query {
    struct server *server;
    char *bucket, *key, *version_id, *after, *status, *index, *name, *offset; /* decoded query parameters or NULL; owned by the job */
    json_t *body;                    /* the parsed request body or NULL; owned by the job */
};
/* A verb that needs the map of the cluster. */
typedef unsigned admin_with_map(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json,
                                struct error *e);
/* Asks metadata for the map, and runs the verb; 503 where it can't be had. */
unsigned admin_map_run(const struct admin_query *query, admin_with_map *run, json_t **ret_json, struct error *e);

unsigned admin_status(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_disks(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_buckets(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_explain(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_durability(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_trace.c; gateways too */
unsigned admin_trace(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_support.c; the first two of gateways too */
unsigned admin_config(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_log(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_topology(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_repair.c; the last two of clusters only */
unsigned admin_repair_show(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_repair_change(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_rebalance_show(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_rebalance_change(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_fsck.c */
unsigned admin_fsck_begin(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_fsck_show(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_cluster.c; of clusters only */
unsigned admin_nodes(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_node_state(const struct admin_query *query, json_t **ret_json, struct error *e); /* admin_node.c */
unsigned admin_metadata(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_metadata_promote(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_metadata_remove(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_checkpoint.c */
unsigned admin_checkpoint(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_checkpoint_piece(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_salvage.c */
unsigned admin_salvage_begin(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_salvage_show(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_token_create(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_disk.c; the last two of clusters only */
unsigned admin_disk_replace(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_disk_add(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_disk_state(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_scrub.c; the last on storage nodes */
unsigned admin_scrub_show(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_scrub_start(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned node_verb_scrub(const struct admin_query *query, json_t **ret_json, struct error *e);
/* admin_class.c */
unsigned admin_classes(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_class_set(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_class_remove(const struct admin_query *query, json_t **ret_json, struct error *e);
unsigned admin_bucket_class(const struct admin_query *query, json_t **ret_json, struct error *e);
/* node_verb.c; on storage nodes */
unsigned node_verb_disk_add(const struct admin_query *query, json_t **ret_json, struct error *e);

#endif
