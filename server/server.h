/*
 * server - `cairn server`: one metadata voter, one storage node, gateways on every core, composed in one process.
 *
 * Threads: main (start-up, signals, shutdown), one loop for each S3 listener, the admin loop, `meta` (the voter's
 * serial executor), `meta-read` (queries that must go to disk), `server` (completions of waited calls and background
 * jobs), `admin` (admin verbs, may block), `fsck` (idle but for a run of it), and those of each disk (storage-node/README.md).
 * Start-up order and what a crash leaves at each step: server/README.md.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "common/base/block_cipher.h"
#include "common/http/http_admin.h"
#include "common/http/http_tls.h"
#include "gateway/auth/auth_request.h"
#include "gateway/data/data_store.h"
#include "gateway/handlers/handlers.h"
#include "gateway/http/http_front.h"
#include "metadata/voter.h"
#include "server/credentials.h"
#include "server/data_dir.h"
#include "server/server_options.h"
#include "server/wait.h"
#include "storage-node/node.h"

#include <jansson.h>
#include <stdatomic.h>

#define SERVER_LOOPS_MAX 64
#define SERVER_SCRUB_BYTES_PER_SECOND (8u << 20) /* by disk: 1 TB in a day and a half */

struct server {
    struct env *env;
    struct server_options options;
    pthread_mutex_t dirs_lock;         /* paths and ids of dirs, once requests are served */
    struct data_dirs dirs;
    struct credentials credentials;
    bool first_start;                  /* no DIR was known: a new data set */
    bool failed;                       /* the start did not succeed */
    bool print_keys;                   /* they were generated just now */
    uint8_t class_k, class_m;          /* of new buckets */
    struct node_id node_id;            /* of this process's node, from the cluster id: one node only */

    struct executor *meta_executor;    /* serial: the voter */
    struct executor *query_pool;
    struct executor *completions;      /* serial: done of waited calls, background workers */
    struct executor *admin_jobs;       /* serial, may block */
    struct task look_task;             /* server_dirs_look() */
    atomic_bool looking;
    atomic_uint_fast64_t look_again_ns; /* not before */
    bool jobs_ended;                   /* completions: nothing more is posted to admin_jobs */

    struct cluster *cluster;           /* NULL in `cairn server`, which is alone (cluster.h) */
    struct voter *voter;               /* NULL where this process has no such role, like node and gateway */
    struct node *node;
    struct metadata_client meta;
    struct cluster_map *map;
    struct session *session;
    struct data_store store;
    _Atomic(struct server_background *) background; /* gc, repair, orphan sweep: server_background.h */

    struct block_cipher *version_cipher;
    struct s3_config s3_config;
    struct slice domains[SERVER_DOMAINS_MAX];
    struct auth_config admin_auth;     /* used on the admin loop only */
    struct gateway *gateway;
    struct http_tls *tls;
    struct loop *loops[SERVER_LOOPS_MAX];
    unsigned loop_count;
    struct loop *admin_loop;
    struct http_front *front;
    struct http_admin *admin;
    struct trace *trace;               /* of a gateway */
    struct fsck *fsck;                 /* of a voter, from server_step_admin on */
    struct salvage *salvage;           /* likewise, of a cluster's voter */
    atomic_bool ready;
};

/* Sets the error's text and returns the HTTP status, for admin verbs. */
unsigned server_fail(struct error *e, unsigned status, const char *text);
#define SERVER_PATH_BYTES 1024
/* The DIR of a disk of this process, empty if it is not here. Any thread. */
void server_disk_path(struct server *server, struct disk_id disk, char ret_path[SERVER_PATH_BYTES]);
json_t *server_mirrors_json(struct server *server);
void server_metrics_write(struct server *server, struct enc *text);
bool server_ready(struct server *server); /* requests are served; of one process alone: its metadata can be read. Any thread */
bool server_identity_find(void *data, struct slice access_key, struct auth_identity *ret_identity);

#endif
