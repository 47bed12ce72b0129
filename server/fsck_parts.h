/* fsck_parts - the inside of fsck, shared by fsck.c, fsck_shards.c and fsck_recheck.c only. */
#ifndef SERVER_FSCK_PARTS_H
#define SERVER_FSCK_PARTS_H

#include "common/base/env.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc.h"
#include "server/fsck.h"
#include "server/placement_judge.h"

#include <pthread.h>
#include <stdatomic.h>

#define FSCK_FINDINGS_MAX 1000 /* kept with their text; more are counted */

enum fsck_state { FSCK_NONE, FSCK_RUNNING, FSCK_DONE, FSCK_FAILED };

struct fsck {
    struct server *server;
    struct executor *executor;     /* one thread */
    struct task task;
    atomic_bool cancel;
    _Atomic uint64_t done, total;  /* of the phase */
    _Atomic uint64_t shards, open_session_shards, gc_shards;
    pthread_mutex_t lock;          /* of what follows */
    pthread_cond_t wake;           /* cancel was set */
    enum fsck_state state;
    uint64_t run;                  /* counts from 1 */
    uint64_t started_ms, ended_ms;
    const char *phase;
    json_t *findings, *by_kind, *checked;
    uint64_t finding_count;
    struct error error;
};

struct fsck_disk {
    struct disk_id id;
    struct rpc_channel *channel;
    bool up;
    char name[ID_HEX_BYTES];
};

enum fsck_doubt_kind {
    DOUBT_ABSENT,  /* the record says that the shard is on the disk, the disk does not have it */
    DOUBT_STRAY,   /* the disk has it, the record says that it stands elsewhere */
    DOUBT_ORPHAN,  /* the disk has it, there is no record */
    DOUBT_FORGOTTEN, /* likewise, and no row of its session: only a rebuild leaves such */
};

/* What looked wrong once. */
struct fsck_doubt {
    uint8_t kind, index;
    bool silent;                   /* the disk did not answer when it was last looked at */
    uint16_t disk;                 /* of fsck_walk.disks */
    struct extent_id extent;
};

/* The map as one answer had it, with memory of its own. */
struct fsck_map {
    struct arena arena;
    struct meta_cluster_reply reply;
    struct enc bytes;
};

struct fsck_walk {
    struct fsck *fsck;
    struct server *server;
    struct fsck_map map;
    struct placement_judge judge;
    struct fsck_disk *disks;
    unsigned disk_count;
    uint64_t *open_sessions;       /* ascending */
    unsigned open_count;
    uint64_t *closed_sessions;     /* ascending */
    size_t closed_count, closed_capacity;
    uint64_t session_max;          /* a higher one was opened since */
    struct fsck_doubt *doubts;
    unsigned doubt_count;
    struct error *e;
};

#define FSCK_DOUBTS_MAX 4096
#define FSCK_CALL_NS UINT64_C(60000000000)

/* kind: as in docs/ADMIN-API.md */
void fsck_found(struct fsck *fsck, const char *kind, const char *text);
/* Waits, less if the run is stopped. */
void fsck_pause(struct fsck *fsck, unsigned seconds);
bool fsck_stopped(struct fsck *fsck);

/* fsck_shards.c: the second phase */
MUST_CHECK enum errc fsck_shards(struct fsck *fsck, struct error *e);
MUST_CHECK enum errc fsck_map_get(struct fsck_walk *walk, struct fsck_map *ret_map);
void fsck_map_free(struct fsck_map *map);
/* Does the record say that the shard is on this disk? */
bool fsck_expects(const struct meta_cluster_reply *map, const struct extent *extent, unsigned index, struct disk_id disk);
const struct meta_group *fsck_group(const struct meta_cluster_reply *map, uint32_t id);

/* fsck_recheck.c */
void fsck_disk_silent(struct fsck_walk *walk, unsigned disk); /* reported once */
/* Looks at every doubt again, reports those that stand, and forgets all. */
MUST_CHECK enum errc fsck_recheck(struct fsck_walk *walk);

#endif
