/*
 * cluster - what a process of a cluster has beyond `cairn server`: identity, TLS, the port of the other processes,
 * clients to them; on the voter the nodes that it hears of and the map that it makes from them.
 *
 * One process is one `struct server` (server.h) that runs some of its services: a voter has no storage node and no gateway,
 * a gateway has no voter. The start's steps for each role are listed in cluster_start.c; life of a join: server/README.md.
 * Thread: fields are set by the start (main thread); what changes later is guarded by `guard`.
 */
#ifndef SERVER_CLUSTER_H
#define SERVER_CLUSTER_H

#include "common/base/role.h"
#include "common/io/loop.h"
#include "common/io/tls_context.h"
#include "common/rpc/rpc_client.h"
#include "common/rpc/rpc_server.h"
#include "server/cluster_renew.h"
#include "server/identity.h"
#include "server/server.h"

#include <jansson.h>
#include <stdatomic.h>

#define CLUSTER_NODES_MAX 64
#define CLUSTER_LINKS_MAX 32 /* addresses of voters, since the start */
#define CLUSTER_SILENT_NS UINT64_C(3500000000) /* a node not heard of for so long counts as away: three heartbeats */

/* An address that a storage node has or had. Clients live to the end of the process: somebody may hold the channel. */
struct cluster_peer {
    struct node_id node;
    bool current;                  /* the newest map says that the node is there */
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1];
    struct rpc_client *client;
};

/* Voter: what a process said of itself last. */
struct cluster_heard {
    struct node_id node;
    uint8_t role;
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1];
    char version[IDENTITY_TEXT_BYTES];
    uint64_t at_ns;
    struct enc disks;              /* an encoded node_disk_status_reply, or empty */
};

/* An address that a voter has or had. Clients live to the end of the process. */
struct cluster_voter_link {
    struct node_id node;
    char address[CLUSTER_ADDRESS_BYTES_MAX + 1];
    bool current;
    struct rpc_client *client;
};

/* Voter: a disk that is out of service. */
struct cluster_away {
    struct disk_id disk;
    uint64_t since_ns;
};

struct cluster_heartbeat;
struct damage_report;
struct cluster_renewal;
struct member_request;
struct voter_recovery;

struct cluster {
    struct server *server;
    struct env_file *lock;         /* of --data */
    struct identity identity;
    struct tls_context *tls;
    char *key_pem, *certificate_pem, *ca_pem, *ca_key_pem; /* the last: voters only */
    struct loop *out_loop, *in_loop;
    struct rpc_server *port;
    struct rpc_channel service;    /* CLUSTER_*, NODE_HEARTBEAT */
    struct cluster_heartbeat *heartbeat;
    struct damage_report *damage;  /* storage nodes only */
    struct cluster_renewal *renewal;
    _Atomic int64_t certificate_end_s; /* of the certificate in use, seconds since 1970; 0: none yet */
    pthread_mutex_t guard;
    pthread_mutex_t yield_guard;   /* one hand-over at a time */
    struct cluster_voter_link links[CLUSTER_LINKS_MAX]; /* cluster_voters.c; so is identity.voters guarded */
    unsigned link_count;
    bool identity_posted;
    struct task identity_task;     /* on admin_jobs */
    atomic_bool serves;            /* the start has come to where CLUSTER_* can be answered */
    struct cluster_peer peers[CLUSTER_NODES_MAX];
    unsigned peer_count;
    uint64_t peers_revision;       /* of the newest map that peers were made from */
    struct cluster_heard heard[CLUSTER_NODES_MAX];
    unsigned heard_count;
    uint64_t started_ns;           /* voter: nodes can be heard since then; 0: not yet */
    bool led;                      /* voter: did it lead when silence was last judged? */
    uint64_t disks_changed_ns;     /* when a disk or a node's state last changed in the map; 0: groups are planned */
    bool plan_wanted;              /* since then; not by a start alone */
    uint64_t refused_logged_ns;    /* when it was last said which disks stand in two nodes */
    bool port_ended;               /* under the guard: it takes nothing more */
    bool jobs_ended;               /* nothing is posted to admin_jobs any more: they end */
    bool topology_posted;
    uint64_t health_seen;          /* of the map when the repair worker was last told to look */
    struct cluster_away away[NODE_DISKS_MAX]; /* on admin_jobs */
    unsigned away_count;
    uint64_t take_over_again_ns;
    uint64_t held_logged_ns, taken_over_logged_ns; /* when it was last said that nothing is given up; that an empty disk waits */
    struct task topology_task;     /* on admin_jobs */
};

/* cluster_identity.c: lock, identity, join where there is none yet, TLS. */
MUST_CHECK enum errc cluster_identity_start(struct server *server, struct error *e);
/* `cairn cluster init`: everything that the first voter needs, then it ends. */
MUST_CHECK enum errc cluster_init(struct server *server, struct error *e);
/* Reads what the start needs from --data. */
MUST_CHECK enum errc cluster_files_read(struct server *server, struct error *e);

/* cluster_service.c, on voters */
void cluster_service_init(struct server *server);
/* Fills the reply from what nodes said last; its slices point into `ret_text`, which the caller frees. */
void cluster_disks(struct server *server, struct node_disk_status_reply *ret_reply, struct enc *ret_text);
/*
 * The one judge of silence: disks of nodes that were not heard of for CLUSTER_SILENT_NS count as away in this voter's map
 * from now on. A node that was not heard of since the voter's start has that time from there. Called on each heartbeat
 * and by server_poll, from any thread.
 */
void cluster_silence_judge(struct server *server);
bool cluster_node_silent(struct server *server, struct node_id node);
/* Nanoseconds since the node was heard of; UINT64_MAX: never. */
uint64_t cluster_heard_age(struct server *server, struct node_id node, char ret_version[IDENTITY_TEXT_BYTES]);

/* cluster_voter.c, on voters */
MUST_CHECK enum errc cluster_voter_open(struct server *server, bool bootstrap, struct error *e);
/* cluster_recover.c. Offline: locks and reads a voter's --data; INVALID: it is another role's. */
MUST_CHECK enum errc cluster_voter_data_take(struct server *server, struct error *e);
/* Its `identity` names no other voter from now on. */
MUST_CHECK enum errc cluster_voter_alone(struct server *server, struct error *e);
/* The voter of --data, which is not open, is to go on without the others; as voter_recover(). */
MUST_CHECK enum errc cluster_voter_recover(struct server *server, bool commit, struct voter_recovery *ret, struct error *e);
MUST_CHECK enum errc cluster_step_voter(struct server *server, struct error *e);
MUST_CHECK enum errc cluster_step_member(struct server *server, struct error *e);
/* Asks the leader; waits. Errors: metadata/voter_member.h. */
MUST_CHECK enum errc cluster_member_change(struct server *server, const struct member_request *request, struct error *e);
/* cluster_recover.c: `cairn metadata recover` */
MUST_CHECK enum errc cluster_step_recover(struct server *server, struct error *e);
void cluster_recover_print(const struct server *server);
/* cluster_rebuild.c: `cairn metadata rebuild` */
MUST_CHECK enum errc cluster_step_rebuild(struct server *server, struct error *e);
void cluster_rebuild_print(const struct server *server);
/* cluster_from.c: `cairn cluster init --from DIR...`. First the DIRs, their cluster and keys; nothing without --from. */
MUST_CHECK enum errc cluster_from_look(struct server *server, struct error *e);
/* Then, behind cluster_init(), their metadata into --data. EXISTS: it has moved to another one. */
MUST_CHECK enum errc cluster_from_move(struct server *server, struct error *e);
void cluster_from_print(const struct server *server);
/* For `cairn server`. INVALID: the metadata of one of the DIRs has moved. */
MUST_CHECK enum errc cluster_from_refuse(struct env *env, const struct data_dirs *dirs, struct error *e);
/* This voter ends leading, if it does and another can; waits at most 1.5 s (voter_hand_over). */
void cluster_hand_over(struct server *server);
uint64_t cluster_raft_id(struct node_id node); /* of the voter of a node that joined */

/* cluster_topology.c */
/* The map's nodes have changed, or may have: makes clients to those that are new. Any thread. */
void cluster_nodes_take(void *server, const struct meta_cluster_reply *map);
/* On a voter: where the other voters are by its own state, which needs no leader. */
void cluster_voters_read(struct server *server);
/* Does the map that this process knows have the node at that address? Under `guard`. */
bool cluster_peer_is_at(const struct cluster *cluster, struct node_id node, const char *address);
/* To the storage node, where the newest map has it; NULL: it has none. Lives as long as the process. */
struct rpc_channel *cluster_node_channel(struct cluster *cluster, struct node_id node);
/* node_verb.c: a storage node answers the voter that leads. */
void cluster_node_service_init(struct server *server);
/* On the voter that leads: a verb (BY_NODE) of the node. Returns the status, and its answer on 200. Waits, for
 * that long at most: admin_jobs does nothing else meanwhile. */
unsigned node_verb_ask(struct server *server, struct node_id node, const char *path, const json_t *body, uint64_t wait_ns,
                       json_t **ret_json, struct error *e);
/* On the voter: looks soon whether disks want to be in the map, or elsewhere in it. Any thread. */
void cluster_topology_kick(struct server *server);
/* The operator has changed the map: groups are planned soon. Any thread. */
void cluster_topology_changed(struct server *server);
/* On the voter: the repair worker looks at once where the map or what is told of disks has changed. Any thread. */
void cluster_health_follow(struct server *server);

/* cluster_heartbeat.c */
void cluster_heartbeat_start(struct server *server);
void cluster_heartbeat_stop(struct server *server); /* waits */

/* cluster_start.c */
typedef enum errc (*server_step)(struct server *server, struct error *e);
/* The steps of a role, ended by NULL. */
const server_step *cluster_steps(enum server_command command);
void cluster_banner_print(const struct server *server);
void cluster_stop_port(struct server *server); /* takes no calls any more */
void cluster_clients_end(struct server *server); /* their calls end */
void cluster_free(struct server *server);

#endif
