/*
 * data_dir - the DIRs of `cairn server`: what each one is, before anything is written.
 *
 * Every DIR is looked at first; only when all of them are acceptable is anything created. A DIR holds, beside the
 * files of the storage node (segments/, index/) and of the metadata mirror (metadata/):
 *     lock         locked while a server runs
 *     credentials  root keys, 0600 (server/credentials.h)
 *     disk         the superblock: cluster id, disk id (storage-node/superblock.h); written LAST when a DIR is
 *                  formatted, so a DIR without it was never part of an acknowledged write
 * Bytes: docs/formats/data-dir.md.
 */
#ifndef SERVER_DATA_DIR_H
#define SERVER_DATA_DIR_H

#include "common/base/env.h"
#include "common/base/id.h"
#include "server/server_options.h"

enum data_dir_kind {
    DATA_DIR_UNKNOWN,    /* not looked at */
    DATA_DIR_EMPTY,      /* empty, or left unfinished by a first start: may be formatted */
    DATA_DIR_KNOWN,      /* has a superblock */
    DATA_DIR_UNREADABLE, /* there, but damaged or without permission: counts as a lost disk of a known data set */
    DATA_DIR_ABSENT,     /* not there, while others are known: counts as a lost disk */
};

struct data_dir {
    char *path;                   /* absolute, real; owned */
    enum data_dir_kind kind;
    struct cluster_id cluster;    /* KNOWN */
    struct disk_id disk;          /* KNOWN, or drawn when formatted */
    struct env_file *lock;        /* held open while the server runs; NULL where there is no lock */
    bool lock_made;               /* by this look: goes again if the start is refused */
    bool made;                    /* by data_dir_prepare: the same */
    struct error problem;         /* why it is UNREADABLE */
    uint64_t device, inode;       /* to tell duplicates */
    bool unfinished;              /* EMPTY: a former first start left files that must go first */
    bool fenced;                  /* its disk was last told to be out of service */
    bool unusable;                /* not KNOWN, it came back and could not be taken in: said once */
};

struct data_dirs {
    struct env *env;
    unsigned count;
    struct data_dir dirs[SERVER_DIRS_MAX];
    unsigned known_count;
    struct cluster_id cluster;    /* of the known ones */
};

/*
 * Looks at every DIR and locks those that are there. Nothing but lock files is written, and those only into
 * directories that are ours or empty.
 * Errors (each names the DIR): INVALID duplicate, a file, not empty and not ours; CONFLICT locked by another server;
 * DENIED no permission at a first start; FORMAT newer than this program; EXISTS DIRs of two clusters.
 */
MUST_CHECK enum errc data_dirs_open(struct env *env, const char *const *paths, unsigned count,
                                    struct data_dirs *ret_dirs, struct error *e);
/* For one DIR that this process may have locked already: `held` moves into *ret_dirs (then it is closed with it). */
MUST_CHECK enum errc data_dirs_open_held(struct env *env, const char *path, struct env_file *held,
                                         struct data_dirs *ret_dirs, struct error *e);
/* Creates (if absent) and empties an EMPTY DIR of what an unfinished first start left, and locks it. */
MUST_CHECK enum errc data_dir_prepare(struct env *env, struct data_dir *dir, struct error *e);
/* Writes the superblock: from here on the DIR is KNOWN. */
MUST_CHECK enum errc data_dir_format(struct env *env, struct data_dir *dir, struct cluster_id cluster,
                                     struct error *e);
/* Gives the locks back. */
void data_dirs_close(struct data_dirs *dirs);
/* The same for a start that failed: lock files that were not there before are removed and, while no DIR has a superblock
 * yet, everything else that this first start has made. */
void data_dirs_abandon(struct data_dirs *dirs);

#endif
