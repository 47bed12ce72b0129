/*
 * Fuzz target: the small files of a DIR that are read whole at a start: disk, credentials, metadata/state and the
 * MANIFEST.cairn of a checkpoint.
 *
 * First byte: which file, and whether its checksum is made to fit (else hardly any input would come past it). What is
 * accepted must be written again to something that reads, and writes, the same. A checkpoint that is restored or
 * copied holds the bytes of its source, and nothing is written beside the target.
 */
#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "metadata/checkpoint.h"
#include "metadata/mirror_files.h"
#include "server/credentials.h"
#include "storage-node/superblock.h"
#include "tests/sim/lib/env_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_BYTES (16u << 20)
#define FILE_BYTES_MAX 4096
#define CHECKPOINT "/d0/metadata/checkpoint-0000000000000001"
#define STORE "/d0/metadata/store"
#define CONTENT "state" /* of the one file that the checkpoint has */

enum which { WHICH_SUPERBLOCK, WHICH_CREDENTIALS, WHICH_STATE, WHICH_MANIFEST, WHICH_COUNT };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void file_make(struct env *env, const char *path, const void *data, size_t len)
{
    struct env_file *file = NULL;
    const struct iovec part = { (void *)(uintptr_t)data, len };
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, NULL);
    ASSERT(rc == ERRC_OK);
    rc = len > 0 ? env->vt->pwritev(env, file, &part, 1, 0, NULL) : ERRC_OK;
    ASSERT(rc == ERRC_OK);
    env->vt->close(env, file);
}

static void folder_make(struct env *env, const char *path)
{
    enum errc rc = env->vt->mkdir(env, path, NULL);
    ASSERT(rc == ERRC_OK);
}

/* Must be freed. */
static struct enc file_bytes(struct env *env, const char *path)
{
    struct enc bytes = ENC_INIT;
    enum errc rc = mirror_file_read(env, path, UINT32_MAX, &bytes, NULL);
    ASSERT(rc == ERRC_OK);
    return bytes;
}

static void same_bytes_free(struct enc *a, struct enc *b)
{
    ASSERT(slice_equal(enc_slice(a), enc_slice(b)));
    enc_free(a);
    enc_free(b);
}

/* Makes the checksum fit, where there is room for one. */
static void seal(enum which which, uint8_t *file, size_t len)
{
    if (which == WHICH_SUPERBLOCK && len >= 16) {
        store_le32(file + 12, 0);
        store_le32(file + 12, crc32c(file, len));
    } else if (which == WHICH_CREDENTIALS) {
        uint8_t *line = len > 0 ? memmem(file, len, "\ncrc32c=", 8) : NULL;
        size_t at = line != NULL ? (size_t)(line + 1 - file) : len;
        char digits[9];
        if (at + 7 + 8 <= len) {
            (void)snprintf(digits, sizeof(digits), "%08x", crc32c(file, at));
            memcpy(file + at + 7, digits, 8);
        }
    } else if (which >= WHICH_STATE && len >= 4) {
        store_le32(file + len - 4, crc32c(file, len - 4));
    }
}

static void superblock_check(struct env *env, const uint8_t *file, size_t len)
{
    struct superblock first;
    struct superblock second;
    file_make(env, "/d0/disk", file, len);
    if (superblock_read(env, "/d0", NULL, &first, NULL) != ERRC_OK) {
        return;
    }
    enum errc rc = superblock_write(env, "/d0", &first, NULL);
    ASSERT(rc == ERRC_OK);
    rc = superblock_read(env, "/d0", &first.cluster, &second, NULL);
    ASSERT(rc == ERRC_OK);
    ASSERT(disk_id_equal(first.disk, second.disk) && first.created_wall_ms == second.created_wall_ms);
}

static void credentials_check_file(struct env *env, const uint8_t *file, size_t len)
{
    struct credentials first;
    struct credentials second;
    file_make(env, "/d0/credentials", file, len);
    if (credentials_read(env, "/d0", &first, NULL) != ERRC_OK) {
        return;
    }
    enum errc rc = credentials_write(env, "/d0", &first, NULL);
    ASSERT(rc == ERRC_OK);
    rc = credentials_read(env, "/d0", &second, NULL);
    ASSERT(rc == ERRC_OK);
    ASSERT(first.generation == second.generation && cluster_id_equal(first.cluster, second.cluster));
    ASSERT(slice_equal(slice_str(first.access_key), slice_str(second.access_key)));
    ASSERT(slice_equal(slice_str(first.secret_key), slice_str(second.secret_key))); /* no secret here: a test's */
}

static void state_check(struct env *env, const uint8_t *file, size_t len)
{
    const struct cluster_id cluster = { { 1 } };
    struct mirror_state *state = mem_zalloc(sizeof(*state));
    struct mirror mirror;
    mirror_init(&mirror, env, cluster, (struct disk_id){ { 2 } }, "/d0");
    file_make(env, "/d0/metadata/state", file, len);
    if (mirror_state_read(&mirror, state, NULL) == ERRC_OK) {
        enum errc rc = mirror_state_write(&mirror, state, NULL);
        ASSERT(rc == ERRC_OK);
        struct enc first = file_bytes(env, "/d0/metadata/state");
        rc = mirror_state_read(&mirror, state, NULL);
        ASSERT(rc == ERRC_OK);
        rc = mirror_state_write(&mirror, state, NULL);
        ASSERT(rc == ERRC_OK);
        struct enc second = file_bytes(env, "/d0/metadata/state");
        same_bytes_free(&first, &second);
    }
    mirror_done(&mirror);
    mem_free(state);
}

static void known_name(void *data, const char *name)
{
    (void)data;
    ASSERT(strcmp(name, "checkpoint-0000000000000001") == 0 || strcmp(name, "checkpoint-0000000000000001.new") == 0 ||
           strcmp(name, "store") == 0 || strcmp(name, "store.new") == 0);
}

/* A file of the target is one of the source, whole. */
struct target {
    struct env *env;
    const char *path;
};

static void same_file(void *data, const char *name)
{
    struct target *target = data;
    char *ours = mem_format("%s/%s", target->path, name);
    char *theirs = mem_format(CHECKPOINT "/%s", name);
    struct enc first = file_bytes(target->env, ours);
    struct enc second = file_bytes(target->env, theirs);
    same_bytes_free(&first, &second);
    mem_free(theirs);
    mem_free(ours);
}

static void target_check(struct env *env, enum errc outcome, const char *parent, const char *path)
{
    ASSERT(outcome == ERRC_OK || outcome == ERRC_CORRUPT);
    enum errc rc = env->vt->list(env, parent, known_name, NULL, NULL);
    ASSERT(rc == ERRC_OK);
    if (outcome == ERRC_OK) {
        rc = env->vt->list(env, path, same_file, &(struct target){ env, path }, NULL);
        ASSERT(rc == ERRC_OK);
    }
}

static void manifest_check(struct env *env, const uint8_t *file, size_t len)
{
    struct checkpoint_info info;
    folder_make(env, CHECKPOINT);
    folder_make(env, "/d1");
    folder_make(env, "/d1/metadata");
    file_make(env, CHECKPOINT "/MANIFEST.cairn", file, len);
    file_make(env, CHECKPOINT "/CURRENT", CONTENT, sizeof(CONTENT) - 1);
    if (checkpoint_newest(env, "/d0/metadata", UINT64_MAX, &info, NULL) == ERRC_OK) {
        ASSERT(info.index == 1); /* there is no other folder to restore from */
    }
    enum errc rc = checkpoint_copy(env, "/d0/metadata", "/d1/metadata", 1, NULL);
    target_check(env, rc, "/d1/metadata", "/d1/metadata/checkpoint-0000000000000001");
    rc = checkpoint_restore(env, "/d0/metadata", 1, STORE, NULL);
    target_check(env, rc, "/d0/metadata", STORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static void (*const checks[WHICH_COUNT])(struct env *env, const uint8_t *file, size_t len) = {
        superblock_check, credentials_check_file, state_check, manifest_check
    };
    if (len == 0 || len > FILE_BYTES_MAX) {
        return 0;
    }
    enum which which = data[0] % WHICH_COUNT;
    struct env_sim *sim = env_sim_create(1, DISK_BYTES);
    struct env *env = env_sim_env(sim);
    uint8_t *file = mem_alloc(len);
    memcpy(file, data + 1, len - 1);
    if ((data[0] & 0x80) != 0) {
        seal(which, file, len - 1);
    }
    folder_make(env, "/d0");
    folder_make(env, "/d0/metadata");
    checks[which](env, file, len - 1);
    mem_free(file);
    env_sim_destroy(sim);
    return 0;
}
