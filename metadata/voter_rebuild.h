/*
 * voter_rebuild - a voter out of a copy of a checkpoint: all voters are lost, a backup is left.
 *
 *   1 DIR/metadata/rebuild       holds the checkpoint's files, which the caller has verified
 *   2 that state is opened and goes on as a new history: sessions forgotten, other voters removed, position far ahead
 *   3 checkpoint-<position> made from it, ENTRY.cairn in it: no state names it, a start still says that there is none
 *   4 DIR/metadata/state says that this checkpoint is to be installed: the next voter_open does, see voter_snapshot.c
 *   5 DIR/metadata/rebuild removed
 * A crash before 4 leaves a DIR without a state: rebuild again. One behind it leaves a folder that nobody reads.
 *
 * Blocks. Thread: the caller's; nothing else may have DIR open.
 */
#ifndef METADATA_VOTER_REBUILD_H
#define METADATA_VOTER_REBUILD_H

#include "metadata/voter.h"

struct voter_rebuild_config {
    struct env *env;
    struct kv_factory *kv_factory;
    struct cluster_id cluster;
    struct voter_dir dir;
    struct node_id node;     /* whose voter it is: the only one from now on */
    uint64_t raft_id;
    uint64_t term;           /* of the backup's checkpoint */
    bool complete;           /* it holds all that was ever acknowledged: sessions go on, the position stays */
    void (*on_removed)(void *data, struct slice name); /* another voter that is taken out of the map */
    void *data;
};

/* Where step 1 puts the files. Gives. */
char *voter_rebuild_folder(const char *dir);
/* Makes DIR/metadata and an empty folder of step 1. EXISTS: DIR has a state, which is not to be overwritten. */
MUST_CHECK enum errc voter_rebuild_begin(struct env *env, struct cluster_id cluster, const struct voter_dir *dir, struct error *e);
/* Steps 2 to 5. CORRUPT, FORMAT, IO. */
MUST_CHECK enum errc voter_rebuild(const struct voter_rebuild_config *config, struct error *e);

#endif
