/*
 * cluster_workload - clients of a simulated cluster and what they saw.
 *
 * Clients put (some only where there is no object), delete and read a few keys through any gateway, as the S3 handlers do
 * it: object_writer and OBJECT_PUT, OBJECT_DELETE, OBJECT and object_reader. A value is a number from which length and
 * bytes follow, so that what is read tells who wrote it; it may be inline, copies or shards.
 */
#ifndef TESTS_SIM_LIB_CLUSTER_WORKLOAD_H
#define TESTS_SIM_LIB_CLUSTER_WORKLOAD_H

#include "gateway/data/object_reader.h"
#include "gateway/data/object_writer.h"
#include "tests/sim/lib/cluster_sim.h"
#include "tests/sim/lib/register_check.h"

#define WORKLOAD_CLIENTS 4
#define WORKLOAD_KEYS 8

struct workload;

struct workload_client {
    struct workload *workload;
    struct data_sim *gateway;
    unsigned key;
    struct register_op *record;   /* of the history */
    bool busy, create;
    uint64_t value, length, at;
    struct object_writer *writer;
    struct object_reader *reader;
    struct session_read pin;
    struct meta_op op;
    struct arena arena;
    char name[16], etag[24];
    struct task task;
    struct timer pause;           /* between the answer of the metadata and the first byte asked for */
};

struct workload {
    struct cluster_sim *cluster;
    struct workload_client clients[WORKLOAD_CLIENTS];
    struct register_op history[WORKLOAD_KEYS][REGISTER_OPS_MAX];
    unsigned counts[WORKLOAD_KEYS];
    uint64_t next_value, event;
    unsigned broken;              /* wrong bytes, wrong lengths */
    unsigned ok, refused, unknown, unreadable;
    bool strict;                  /* reads must succeed: all is healed */
};

void workload_open(struct workload *w, struct cluster_sim *cluster);
/* Starts one random operation, if a client is idle and its key has room in the history. */
bool workload_start(struct workload *w);
void workload_read(struct workload *w, unsigned key); /* waits for an idle client */
void workload_wait(struct workload *w);
/* Keys whose history is not linearizable, each printed, and operations that saw wrong bytes. */
unsigned workload_check(const struct workload *w);
/* Objects there are, by the last operation of each key: a read that succeeded. */
unsigned workload_objects(const struct workload *w);

#endif
