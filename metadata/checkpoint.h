/*
 * checkpoint - whole states of the metadata, one folder each: DIR/metadata/checkpoint-<index>.
 *
 * Made in the DIR of the state store (table files are hard links), then copied to the other mirrors: a file that the
 * mirror's older checkpoint has under the same name, size and CRC32C is linked, the rest is copied. The file MANIFEST.cairn
 * lists name, size and CRC of every file and is written last, the folder is renamed into place last of all: a folder
 * without a whole manifest is garbage of a crash. Bytes: docs/formats/metadata-log.md.
 *
 * All calls block; none may run at the same time as another on the same DIR.
 */
#ifndef METADATA_CHECKPOINT_H
#define METADATA_CHECKPOINT_H

#include "common/base/env.h"
#include "common/base/kv.h"

struct checkpoint_info {
    uint64_t index; /* every command up to here is in it (later ones may be) */
    uint64_t term;  /* of the entry at index */
};

/* Makes one in `metadata_dir` (DIR/metadata) from the running kv. EXISTS is not an error: it is there already. */
MUST_CHECK enum errc checkpoint_make(struct env *env, struct kv *kv, const char *metadata_dir,
                                     struct checkpoint_info info, struct error *e);
/* Copies checkpoint `index` from one DIR to another. CORRUPT: the source is at fault; any other error: the target. */
MUST_CHECK enum errc checkpoint_copy(struct env *env, const char *source_dir, const char *target_dir, uint64_t index,
                                     struct error *e);
/* The newest one with a whole manifest, at most at max_index. NOT_FOUND: there is none. */
MUST_CHECK enum errc checkpoint_newest(struct env *env, const char *metadata_dir, uint64_t max_index,
                                       struct checkpoint_info *ret_info, struct error *e);
/* Verifies every file against the manifest, then makes `store_path` from it (copies). CORRUPT: it does not match. */
MUST_CHECK enum errc checkpoint_restore(struct env *env, const char *metadata_dir, uint64_t index,
                                        const char *store_path, struct error *e);
/* Removes all but checkpoint `index` (0: all), and what crashes left. */
MUST_CHECK enum errc checkpoint_prune(struct env *env, const char *metadata_dir, uint64_t index, struct error *e);
/* Removes a folder and the files in it; OK if it is not there. */
MUST_CHECK enum errc checkpoint_folder_remove(struct env *env, const char *path, struct error *e);

#endif
