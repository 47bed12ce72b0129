/*
 * server_sim - what `cairn server` is made of, on one simulated machine: a storage node with some DIRs, a voter whose
 * log mirrors lie in the same DIRs, and the gateway's session, cluster map, data store and garbage collection.
 *
 * Everything runs in the calling thread (env_sim). DIRs are /d0, /d1 and so on; the class is 4+2; one bucket, id in
 * `bucket`. A failure is an assertion: nothing here may fail.
 */
#ifndef TESTS_SIM_LIB_SERVER_SIM_H
#define TESTS_SIM_LIB_SERVER_SIM_H

#include "gateway/data/gc_worker.h"
#include "metadata/voter.h"
#include "storage-node/node.h"
#include "tests/sim/lib/env_sim.h"
#include "tests/sim/lib/kv_sim.h"

#define SERVER_SIM_DIRS 6
#define SERVER_SIM_MIRRORS 3

struct server_sim {
    uint64_t seed;                /* printed by failures */
    struct env_sim *sim;
    struct env *env;
    struct kv_sim_factory kv;
    bool absent[SERVER_SIM_DIRS]; /* not given to the next open */
    unsigned online, wanted_online;
    struct node *node;
    struct voter *voter;
    struct executor *voter_executor, *query_pool, *home, *loop;
    struct metadata_client meta;
    struct session *session;
    struct cluster_map *map;
    struct data_store store;
    struct gc_worker *gc;
    uint64_t bucket;
    atomic_bool flag;
    enum errc status;             /* of the call that set the flag */
    struct error error;
    unsigned corrupt_count;       /* damage that the node found */
};

/* A new data set: folders, superblocks, metadata, disks, group, bucket. Closed again at the end. */
void server_sim_format(struct server_sim *s, uint64_t seed);
void server_sim_open(struct server_sim *s);
void server_sim_close(struct server_sim *s);
/* Closes it where it is, and stands on `clone` from here on; not open. */
void server_sim_adopt(struct server_sim *s, struct env_sim *clone);
void server_sim_done(struct server_sim *s);
/* Runs `run` on the loop's executor and waits until s->flag is set. */
void server_sim_on_loop(struct server_sim *s, void (*run)(struct task *task), struct task *task);
void server_sim_command(struct server_sim *s, const struct meta_command *command, struct meta_result *ret_result);
void server_sim_status(struct server_sim *s, struct meta_status *ret_status);

#endif
