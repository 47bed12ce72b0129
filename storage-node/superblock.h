/*
 * superblock - the identity file DIR/disk: which disk of which cluster a folder is.
 *
 * Bytes: docs/formats/segment.md "Superblock". Written once, when a folder is formatted; read at every
 * start, and again every second, because writes to the open files of a deleted or unmounted folder go on
 * "succeeding". Locking and the other files of DIR belong to the server.
 * Thread: any that may block.
 */
#ifndef STORAGE_NODE_SUPERBLOCK_H
#define STORAGE_NODE_SUPERBLOCK_H

#include "common/base/env.h"
#include "common/base/error.h"
#include "common/base/id.h"

#define SUPERBLOCK_FORMAT 1
#define SUPERBLOCK_NAME "disk"

struct superblock {
    struct cluster_id cluster;
    struct disk_id disk;
    uint64_t created_wall_ms; /* shown only */
    /* where it was read from; ignored by superblock_write() */
    uint64_t device;
    uint64_t inode;
};

/*
 * Reads DIR/disk.
 *
 * cluster  the expected one, or NULL: any
 * Errors   NOT_FOUND no such file; CORRUPT it is damaged; FORMAT it is newer than this program; CONFLICT it
 *          is whole but of another cluster (*ret is set then too); DENIED, IO as the system says.
 */
MUST_CHECK enum errc superblock_read(struct env *env, const char *dir, const struct cluster_id *cluster,
                                     struct superblock *ret, struct error *e);

/* Writes DIR/disk.new, syncs it, renames it to DIR/disk and syncs DIR: after a crash the old file or the
 * new one is there. The folder must exist. */
MUST_CHECK enum errc superblock_write(struct env *env, const char *dir, const struct superblock *superblock,
                                      struct error *e);

#endif
