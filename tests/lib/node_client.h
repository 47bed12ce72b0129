/*
 * node_client - a blocking caller of a storage node, for tests: one disk, shards made from a seed.
 *
 * wait() is called until a flag is set: with threads it sleeps, on a simulated env it runs the scheduler.
 */
#ifndef TESTS_LIB_NODE_CLIENT_H
#define TESTS_LIB_NODE_CLIENT_H

#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"
#include "storage-node/node.h"

#include <stdatomic.h>

struct node_client {
    struct node *node;
    struct executor *home;
    struct cluster_id cluster;
    struct disk_id disk;
    void (*wait)(struct node_client *client, atomic_bool *flag); /* returns when the flag is set */
    void *wait_data;
    atomic_int state;              /* last told by on_disk_state; 0: nothing yet */
    atomic_uint corrupt_count;     /* on_corrupt */
    char reason[256];
    struct error error;            /* of the last call that failed */
};

/* A shard whose bytes follow from (id, bytes): a wrong byte is recognised. */
struct test_shard {
    uint64_t id;
    uint32_t bytes;
    uint32_t cell_bytes;
};

void node_client_wait_thread(struct node_client *client, atomic_bool *flag);
struct node_callbacks node_client_callbacks(struct node_client *client);
/* Waits until the disk has left the state 0. */
enum disk_state node_client_wait_state(struct node_client *client);

struct shard_header test_shard_header(const struct node_client *client, const struct test_shard *shard);
void test_shard_fill(const struct test_shard *shard, uint8_t *bytes);
struct extent_id test_extent(uint64_t id);

/* Sends a message and waits for the answer; the caller releases the call. */
enum errc node_client_call(struct node_client *client, struct rpc_call *call);
enum errc node_client_put(struct node_client *client, const struct test_shard *shard);
/* Open, write in pieces of `cells` cells, commit. */
enum errc node_client_stream(struct node_client *client, const struct test_shard *shard, uint32_t cells);
/* Reads all cells and compares; INTERNAL if an OK answer held wrong bytes. */
enum errc node_client_read(struct node_client *client, const struct test_shard *shard);
enum errc node_client_free(struct node_client *client, const uint64_t *ids, uint32_t count);
enum errc node_client_name(struct node_client *client, uint16_t method, uint64_t id);
uint32_t node_client_list(struct node_client *client); /* number of shards */
uint32_t node_client_opens(struct node_client *client); /* number of open ones */
/* SHARD_OPEN alone. */
enum errc node_client_open(struct node_client *client, const struct test_shard *shard);
struct node_disk_status_entry node_client_status(struct node_client *client); /* slices are not valid */
void node_client_close(struct node_client *client);

#endif
