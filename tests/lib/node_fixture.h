/*
 * node_fixture - a storage node with one disk in a folder of its own, on real files and threads.
 */
#ifndef TESTS_LIB_NODE_FIXTURE_H
#define TESTS_LIB_NODE_FIXTURE_H

#include "tests/lib/node_client.h"

struct node_fixture {
    struct env *env;
    char root[128];        /* removed at the end */
    char dir[160];         /* root/disk */
    struct executor *home;
    struct node_client client;
    struct node_disk_options options;
    struct kv_factory *kv_factory; /* RocksDB's unless set before the start */
};

/* Makes and formats the folder under `parent`; starts nothing. env NULL: the machine's. */
void node_fixture_init(struct node_fixture *f, const char *parent, struct env *env);
void node_fixture_begin(struct node_fixture *f); /* starts the node; does not wait for the disk */
/* Starts the node and waits for the disk; returns its state. */
enum disk_state node_fixture_start(struct node_fixture *f);
void node_fixture_stop(struct node_fixture *f);
/* Copies the disk's folder as it is (what kill -9 would leave) and makes later starts use the copy. */
void node_fixture_crash_copy(struct node_fixture *f);
void node_fixture_done(struct node_fixture *f);

#endif
