/* salvage_parts - the inside of salvage, shared by salvage.c, salvage_shards.c and salvage_objects.c only. */
#ifndef SERVER_SALVAGE_PARTS_H
#define SERVER_SALVAGE_PARTS_H

#include "common/base/env.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc.h"
#include "server/salvage.h"

#include <pthread.h>
#include <stdatomic.h>

#define SALVAGE_SHARDS_MAX (4u << 20)
#define SALVAGE_ARENA_BYTES (4u << 20)

enum salvage_state { SALVAGE_NONE, SALVAGE_RUNNING, SALVAGE_DONE, SALVAGE_FAILED };

/* Numbers of a run. */
struct salvage_counts {
    _Atomic uint64_t disks_away;   /* not in service, or they did not answer */
    _Atomic uint64_t shards;       /* of forgotten sessions, and of no extent that is known */
    _Atomic uint64_t extents;
    _Atomic uint64_t objects, bytes; /* that are back */
    _Atomic uint64_t part_extents; /* of multipart uploads */
    _Atomic uint64_t lone_extents; /* of objects that are not whole, or whose record is not there */
    _Atomic uint64_t refused;      /* objects: there is something newer, or no such bucket, or a condition does not hold */
    _Atomic uint64_t discarded;    /* sessions */
};

struct salvage {
    struct server *server;
    struct executor *executor;     /* one thread */
    struct task task;
    atomic_bool cancel;
    struct salvage_counts counts;
    pthread_mutex_t lock;          /* of what follows */
    enum salvage_state state;
    bool partial, discard;
    uint64_t run;                  /* counts from 1 */
    uint64_t started_ms, ended_ms;
    struct error error;
};

struct salvage_disk {
    struct disk_id id;
    struct rpc_channel *channel;
};

struct salvage_shard {
    struct extent_id extent;
    uint16_t disk;                 /* of salvage_walk.disks */
    uint8_t index;
};

/* An extent that no record knows. */
struct salvage_extent {
    struct extent extent;          /* as it is to be recorded; group and positions come last */
    uint64_t bucket, session, offset, wall_ms;
    bool part;
    struct slice key;              /* of salvage_walk.bytes, as is the next */
    struct slice footer;
    uint32_t first, count;         /* of salvage_walk.shards */
};

struct salvage_walk {
    struct salvage *salvage;
    struct server *server;
    struct error *e;
    struct arena arena;            /* the map */
    struct enc map_bytes;
    struct meta_cluster_reply map;
    struct salvage_disk *disks;
    unsigned disk_count;
    uint64_t *sessions;            /* that are known, ascending */
    size_t session_count;
    struct salvage_shard *shards;  /* in the order of extents */
    size_t shard_count, shard_capacity;
    struct salvage_extent *extents;
    size_t extent_count;
    struct arena texts;            /* keys and footers */
};

bool salvage_stopped(const struct salvage_walk *walk);
/* salvage_shards.c: fills shards and extents. */
MUST_CHECK enum errc salvage_shards(struct salvage_walk *walk);
/* salvage_objects.c: commits what is whole. */
MUST_CHECK enum errc salvage_objects(struct salvage_walk *walk);
/* What is left may be freed. */
MUST_CHECK enum errc salvage_discard(struct salvage_walk *walk);

#endif
