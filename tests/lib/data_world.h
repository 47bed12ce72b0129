/*
 * data_world - a data_store on fakes: virtual time, one in-memory node with n disks, a metadata fake.
 *
 * Writes and reads whole objects and checks every byte against a pattern made from (seed, offset).
 */
#ifndef TESTS_LIB_DATA_WORLD_H
#define TESTS_LIB_DATA_WORLD_H

#include "gateway/data/object_reader.h"
#include "gateway/data/object_writer.h"
#include "tests/lib/fake_meta.h"
#include "tests/lib/fake_node.h"
#include "tests/lib/turn_env.h"

struct data_world {
    struct turn_env env;
    struct fake_node node;
    struct fake_meta meta_service;
    struct metadata_client meta;
    struct session *session;
    struct cluster_map *map;
    struct data_store store;
    struct data_repair_hook hook;
    unsigned suspects;
};

struct written {
    enum errc status;
    uint8_t kind;
    uint64_t length;
    uint64_t session;
    unsigned extent_count;
    struct meta_data_extent extents[32];
    uint8_t inline_bytes[INLINE_BYTES_MAX];
    size_t inline_len;
    bool finished;
    const struct meta_query *more; /* for world_read: how further references are asked for */
};

void data_world_open(struct data_world *world, unsigned disks, const struct data_config *config);
void data_world_close(struct data_world *world); /* asserts that no budget, pin, call or timer is left */

uint8_t world_byte(uint64_t seed, uint64_t offset);

/* A stream in steps. */
struct world_writer {
    struct data_world *world;
    struct object_writer *writer;
    uint64_t length, pushed, seed;
    size_t slice_bytes;
    bool finish_called;
    struct written *result;
    unsigned k, m;
};
void world_writer_open(struct world_writer *w, struct data_world *world, unsigned k, unsigned m, uint64_t length,
                       uint64_t seed, struct written *result);
void world_writer_pump(struct world_writer *w);   /* pushes what is taken; finishes at the end */
bool world_writer_finished(void *w);

/* All of it: status in result; keeps the writer's shards when OK, discards otherwise. */
void world_write(struct data_world *world, unsigned k, unsigned m, uint64_t length, uint64_t seed,
                 struct written *result);
/* Reads a range and compares; returns how the stream ended. *ret_bytes: handed out before that. */
enum errc world_read(struct data_world *world, const struct written *object, uint64_t first, uint64_t length,
                     uint64_t seed, uint64_t *ret_bytes);

#endif
