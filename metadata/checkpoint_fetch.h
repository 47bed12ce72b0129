/*
 * checkpoint_fetch - another voter's newest checkpoint, brought here over RPC: resumed, verified, then published.
 *
 *   1 describe: index, the log's entry there, members   2 the manifest   3 each file, into DIR/metadata/incoming
 *   4 each matches the manifest's size and CRC32C        5 the entry as file ENTRY_NAME, the manifest last
 *   6 incoming becomes checkpoint-<index>
 * A crash before 6 leaves incoming, whose whole files are used again. The other voter may have a newer checkpoint before
 * all is here: then it is begun again at 1, with what fits.
 *
 * Thread: everything on `executor`, which may block (files); done there, too. Memory: the fetch is freed after done.
 */
#ifndef METADATA_CHECKPOINT_FETCH_H
#define METADATA_CHECKPOINT_FETCH_H

#include "common/base/env.h"
#include "common/base/id.h"
#include "common/rpc/rpc.h"
#include "metadata/checkpoint.h"
#include "metadata/snapshot_message.h"

#define CHECKPOINT_ENTRY_NAME "ENTRY.cairn" /* beside the manifest, not in it: a snapshot_description */

struct checkpoint_fetch_config {
    struct env *env;
    struct executor *executor;   /* serial */
    struct rpc_channel *channel; /* to a voter that leads */
    struct cluster_id cluster;
    const char *metadata_dir;    /* DIR/metadata, there; copied */
    /* OK: description's index is published. UNAVAILABLE, TIMEOUT: ask again later; nothing is lost. The description's
     * entry borrows until done returns. */
    void (*done)(void *data, enum errc rc, const struct snapshot_description *description, const struct error *e);
    void *data;
};

void checkpoint_fetch_start(const struct checkpoint_fetch_config *config);
/* Reads the description that lies beside a published checkpoint; *ret_bytes holds what it borrows. */
MUST_CHECK enum errc checkpoint_entry_read(struct env *env, const char *metadata_dir, uint64_t index,
                                           struct snapshot_description *ret, struct enc *ret_bytes, struct error *e);

#endif
