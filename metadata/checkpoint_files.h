/* checkpoint_files - what checkpoint.c and checkpoint_fetch.c share: manifests and names; the admin port reads manifests. */
#ifndef METADATA_CHECKPOINT_FILES_H
#define METADATA_CHECKPOINT_FILES_H

#include "common/base/codec.h"
#include "metadata/checkpoint.h"

#include <stdbool.h>

#define MANIFEST_NAME "MANIFEST.cairn"
#define MANIFEST_BYTES_MAX (16u << 20)
#define FILE_NAME_BYTES 128

struct manifest_file {
    char name[FILE_NAME_BYTES];
    uint64_t size;
    uint64_t inode; /* in memory only: an equal inode of an older checkpoint of this DIR has an equal CRC */
    uint32_t crc;
};

struct manifest {
    struct checkpoint_info info;
    struct manifest_file *files;
    size_t count, capacity;
    enum errc rc; /* of collecting names */
};

char *checkpoint_path(const char *dir, uint64_t index, const char *suffix); /* gives */
/* Appends to a manifest that is empty. False: damaged, or names what is no name. */
bool manifest_parse(struct slice bytes, struct manifest *manifest);
void manifest_free(struct manifest *manifest);
/* Reads a file through, gives its size and CRC, and writes it to `copy` where that is not NULL. CORRUPT: it can't be
 * read; any other error is the copy's. */
MUST_CHECK enum errc checkpoint_file_walk(struct env *env, const char *path, const char *copy, uint64_t *ret_size,
                                          uint32_t *ret_crc, struct error *e);
/* The folder `temporary` becomes `folder`, durably; both are in `dir`. */
MUST_CHECK enum errc checkpoint_publish(struct env *env, const char *temporary, const char *folder, const char *dir,
                                        struct error *e);

#endif
