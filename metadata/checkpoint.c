#include "metadata/checkpoint.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "metadata/checkpoint_files.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST_MAGIC 0x3150434e52494143u /* "CAIRNCP1" */
#define MANIFEST_FORMAT 1
#define COPY_BYTES (1u << 20)

char *checkpoint_path(const char *dir, uint64_t index, const char *suffix)
{
    return mem_format("%s/checkpoint-%016llx%s", dir, (unsigned long long)index, suffix);
}

static struct manifest_file *manifest_add(struct manifest *manifest, const char *name)
{
    if (manifest->count == manifest->capacity) {
        manifest->capacity = manifest->capacity > 0 ? 2 * manifest->capacity : 64;
        manifest->files = mem_realloc(manifest->files, manifest->capacity * sizeof(manifest->files[0]));
    }
    struct manifest_file *file = &manifest->files[manifest->count++];
    *file = (struct manifest_file){ .size = 0 };
    size_t len = strlen(name);
    ASSERT(len < FILE_NAME_BYTES);
    memcpy(file->name, name, len + 1);
    return file;
}

void manifest_free(struct manifest *manifest)
{
    mem_free(manifest->files);
    *manifest = (struct manifest){ .count = 0 };
}

static const struct manifest_file *manifest_find(const struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->count; i++) {
        if (strcmp(manifest->files[i].name, name) == 0) {
            return &manifest->files[i];
        }
    }
    return NULL;
}

/* ---- files ---- */

static enum errc read_error(enum errc rc)
{
    return rc == ERRC_OK ? rc : ERRC_CORRUPT;
}

/* Reads a file through, gives its size and CRC, and writes it to `copy` where that is not NULL. CORRUPT: it can't be
 * read; any other error is the copy's. */
enum errc checkpoint_file_walk(struct env *env, const char *path, const char *copy, uint64_t *ret_size, uint32_t *ret_crc,
                           struct error *e)
{
    struct env_file *from = NULL;
    struct env_file *to = NULL;
    uint8_t *block = mem_alloc(COPY_BYTES);
    uint64_t at = 0;
    uint32_t crc = 0;
    size_t len = COPY_BYTES;
    enum errc rc = read_error(env->vt->open(env, path, ENV_OPEN_READ, &from, e));
    if (rc == ERRC_OK && copy != NULL) {
        rc = env->vt->open(env, copy, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &to, e);
    }
    while (rc == ERRC_OK && len == COPY_BYTES) {
        rc = read_error(env->vt->pread(env, from, block, COPY_BYTES, at, &len, e));
        if (rc == ERRC_OK && len > 0) {
            crc = crc32c_update(crc, block, len);
            const struct iovec part = { block, len };
            rc = to != NULL ? env->vt->pwritev(env, to, &part, 1, at, e) : ERRC_OK;
            at += len;
        }
    }
    if (rc == ERRC_OK && to != NULL) {
        rc = env->vt->fdatasync(env, to, e);
    }
    if (to != NULL) {
        env->vt->close(env, to);
    }
    if (from != NULL) {
        env->vt->close(env, from);
    }
    mem_free(block);
    *ret_size = at;
    *ret_crc = crc;
    return rc;
}

static enum errc file_sync(struct env *env, const char *path, struct error *e)
{
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, path, 0, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->fdatasync(env, file, e);
        env->vt->close(env, file);
    }
    return rc;
}

struct folder_walk {
    struct env *env;
    const char *path;
    enum errc rc;
    struct error *e;
};

static void entry_unlink(void *data, const char *name)
{
    struct folder_walk *walk = data;
    if (walk->rc == ERRC_OK) {
        char *path = mem_format("%s/%s", walk->path, name);
        walk->rc = walk->env->vt->unlink(walk->env, path, walk->e);
        mem_free(path);
    }
}

enum errc checkpoint_folder_remove(struct env *env, const char *path, struct error *e)
{
    struct folder_walk walk = { env, path, ERRC_OK, e };
    struct error why = ERROR_INIT;
    enum errc rc = env->vt->list(env, path, entry_unlink, &walk, &why);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return error_set(e, rc, "%s", why.text);
    }
    return walk.rc == ERRC_OK ? env->vt->rmdir(env, path, e) : walk.rc;
}

/* ---- the manifest ---- */

static enum errc manifest_write(struct env *env, const char *folder, const struct manifest *manifest, struct error *e)
{
    struct enc bytes = ENC_INIT;
    struct env_file *file = NULL;
    char *path = mem_format("%s/" MANIFEST_NAME, folder);
    enc_u64(&bytes, MANIFEST_MAGIC);
    enc_u32(&bytes, MANIFEST_FORMAT);
    enc_u64(&bytes, manifest->info.index);
    enc_u64(&bytes, manifest->info.term);
    enc_u32(&bytes, (uint32_t)manifest->count);
    for (size_t i = 0; i < manifest->count; i++) {
        enc_bytes(&bytes, slice_str(manifest->files[i].name));
        enc_u64(&bytes, manifest->files[i].size);
        enc_u32(&bytes, manifest->files[i].crc);
    }
    enc_u32(&bytes, crc32c(bytes.data, bytes.len));
    const struct iovec part = { bytes.data, bytes.len };
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        rc = rc == ERRC_OK ? env->vt->fdatasync(env, file, e) : rc;
        env->vt->close(env, file);
    }
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, folder, e) : rc;
    mem_free(path);
    enc_free(&bytes);
    return rc;
}

bool manifest_parse(struct slice bytes, struct manifest *manifest)
{
    struct dec dec = dec_of(bytes);
    if (bytes.len < 8 || load_le32(bytes.data + bytes.len - 4) != crc32c(bytes.data, bytes.len - 4) ||
        dec_u64(&dec) != MANIFEST_MAGIC || dec_u32(&dec) != MANIFEST_FORMAT) {
        return false;
    }
    manifest->info.index = dec_u64(&dec);
    manifest->info.term = dec_u64(&dec);
    uint32_t count = dec_u32(&dec);
    for (uint32_t i = 0; i < count && !dec.failed; i++) {
        struct slice name = dec_bytes(&dec);
        char text[FILE_NAME_BYTES];
        if (name.len == 0 || name.len >= sizeof(text) || memchr(name.data, '/', name.len) != NULL) {
            return false;
        }
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        struct manifest_file *file = manifest_add(manifest, text);
        file->size = dec_u64(&dec);
        file->crc = dec_u32(&dec);
    }
    (void)dec_u32(&dec); /* the CRC, checked above */
    return dec_done(&dec);
}

/* CORRUPT also when it is not the manifest of checkpoint `index`: a folder that was renamed or mixed up. */
static enum errc manifest_read(struct env *env, const char *folder, uint64_t index, struct manifest *ret,
                               struct error *e)
{
    char *path = mem_format("%s/" MANIFEST_NAME, folder);
    struct enc bytes = ENC_INIT;
    struct env_file *file = NULL;
    struct env_stat stat;
    size_t len = 0;
    *ret = (struct manifest){ .count = 0 };
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->stat_file(env, file, &stat, e);
        if (rc == ERRC_OK && stat.size <= MANIFEST_BYTES_MAX) {
            rc = env->vt->pread(env, file, enc_reserve(&bytes, (size_t)stat.size), (size_t)stat.size, 0, &len, e);
        }
        env->vt->close(env, file);
    }
    if (rc == ERRC_OK && (!manifest_parse(slice_of(bytes.data, len), ret) || ret->info.index != index)) {
        manifest_free(ret);
        rc = error_set(e, ERRC_CORRUPT, "'%s' is damaged", path);
    }
    enc_free(&bytes);
    mem_free(path);
    return rc;
}

/* Inodes of the files that a manifest of this DIR names, to know unchanged ones again. */
static void manifest_inodes(struct env *env, const char *folder, struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++) {
        struct env_stat stat;
        char *path = mem_format("%s/%s", folder, manifest->files[i].name);
        manifest->files[i].inode = env->vt->stat_path(env, path, &stat, NULL) == ERRC_OK ? stat.inode : 0;
        mem_free(path);
    }
}

/* ---- finding ---- */

struct index_list {
    uint64_t indexes[64];
    size_t count;
};

static void index_visit(void *data, const char *name)
{
    struct index_list *list = data;
    char *end = NULL;
    if (strncmp(name, "checkpoint-", 11) != 0 || strlen(name) != 11 + 16 || list->count == 64) {
        return;
    }
    uint64_t index = strtoull(name + 11, &end, 16);
    if (*end == '\0') {
        list->indexes[list->count++] = index;
    }
}

enum errc checkpoint_newest(struct env *env, const char *metadata_dir, uint64_t max_index,
                            struct checkpoint_info *ret_info, struct error *e)
{
    struct index_list list = { .count = 0 };
    enum errc rc = env->vt->list(env, metadata_dir, index_visit, &list, e);
    bool found = false;
    for (size_t i = 0; i < list.count && rc == ERRC_OK; i++) {
        struct manifest manifest;
        char *folder = checkpoint_path(metadata_dir, list.indexes[i], "");
        if (list.indexes[i] <= max_index && manifest_read(env, folder, list.indexes[i], &manifest, NULL) == ERRC_OK) {
            if (!found || manifest.info.index > ret_info->index) {
                *ret_info = manifest.info;
                found = true;
            }
            manifest_free(&manifest);
        }
        mem_free(folder);
    }
    if (rc == ERRC_OK && !found) {
        rc = error_set(e, ERRC_NOT_FOUND, "'%s' has no whole checkpoint", metadata_dir);
    }
    return rc;
}

/* The manifest of the newest checkpoint before `index`, with inodes; empty if there is none. */
static void manifest_before(struct env *env, const char *dir, uint64_t index, struct manifest *ret, char **ret_folder)
{
    struct checkpoint_info info;
    *ret = (struct manifest){ .count = 0 };
    *ret_folder = NULL;
    if (index > 0 && checkpoint_newest(env, dir, index - 1, &info, NULL) == ERRC_OK) {
        *ret_folder = checkpoint_path(dir, info.index, "");
        if (manifest_read(env, *ret_folder, info.index, ret, NULL) == ERRC_OK) {
            manifest_inodes(env, *ret_folder, ret);
        }
    }
}

/* ---- making ---- */

static void file_visit(void *data, const char *name)
{
    struct manifest *manifest = data;
    if (strlen(name) >= FILE_NAME_BYTES) {
        manifest->rc = ERRC_LIMIT;
    } else {
        (void)manifest_add(manifest, name);
    }
}

/* Sizes and CRCs of a fresh checkpoint's files; each is synced. */
static enum errc manifest_fill(struct env *env, const char *folder, const struct manifest *older,
                               struct manifest *manifest, struct error *e)
{
    enum errc rc = env->vt->list(env, folder, file_visit, manifest, e);
    if (rc == ERRC_OK && manifest->rc != ERRC_OK) {
        rc = error_set(e, manifest->rc, "'%s' has a file name that is too long", folder);
    }
    for (size_t i = 0; i < manifest->count && rc == ERRC_OK; i++) {
        struct manifest_file *file = &manifest->files[i];
        struct env_stat stat;
        char *path = mem_format("%s/%s", folder, file->name);
        rc = env->vt->stat_path(env, path, &stat, e);
        const struct manifest_file *same = manifest_find(older, file->name);
        if (rc == ERRC_OK && same != NULL && same->inode == stat.inode && same->size == stat.size) {
            file->size = same->size;
            file->crc = same->crc;
        } else if (rc == ERRC_OK) {
            rc = checkpoint_file_walk(env, path, NULL, &file->size, &file->crc, e);
            rc = rc == ERRC_OK ? file_sync(env, path, e) : rc;
        }
        mem_free(path);
    }
    return rc;
}

enum errc checkpoint_publish(struct env *env, const char *temporary, const char *folder, const char *dir,
                                struct error *e)
{
    enum errc rc = env->vt->fsync_dir(env, temporary, e);
    rc = rc == ERRC_OK ? env->vt->rename(env, temporary, folder, e) : rc;
    return rc == ERRC_OK ? env->vt->fsync_dir(env, dir, e) : rc;
}

enum errc checkpoint_make(struct env *env, struct kv *kv, const char *metadata_dir, struct checkpoint_info info,
                          struct error *e)
{
    struct manifest manifest = { .info = info };
    struct manifest older;
    char *older_folder = NULL;
    char *folder = checkpoint_path(metadata_dir, info.index, "");
    char *temporary = checkpoint_path(metadata_dir, info.index, ".new");
    struct env_stat stat;
    enum errc rc = ERRC_OK;
    if (env->vt->stat_path(env, folder, &stat, NULL) != ERRC_OK) {
        manifest_before(env, metadata_dir, info.index, &older, &older_folder);
        rc = checkpoint_folder_remove(env, temporary, e);
        rc = rc == ERRC_OK ? kv->vt->checkpoint(kv, temporary, e) : rc;
        rc = rc == ERRC_OK ? manifest_fill(env, temporary, &older, &manifest, e) : rc;
        rc = rc == ERRC_OK ? manifest_write(env, temporary, &manifest, e) : rc;
        rc = rc == ERRC_OK ? checkpoint_publish(env, temporary, folder, metadata_dir, e) : rc;
        manifest_free(&older);
    }
    manifest_free(&manifest);
    mem_free(older_folder);
    mem_free(temporary);
    mem_free(folder);
    return rc;
}

/* ---- copying ---- */

static enum errc files_copy(struct env *env, const char *from_folder, const char *to_folder,
                            const struct manifest *manifest, const struct manifest *older, const char *older_folder,
                            struct error *e)
{
    enum errc rc = ERRC_OK;
    for (size_t i = 0; i < manifest->count && rc == ERRC_OK; i++) {
        const struct manifest_file *file = &manifest->files[i];
        const struct manifest_file *same = older != NULL ? manifest_find(older, file->name) : NULL;
        char *to = mem_format("%s/%s", to_folder, file->name);
        if (same != NULL && same->size == file->size && same->crc == file->crc) {
            char *from = mem_format("%s/%s", older_folder, file->name);
            rc = env->vt->link(env, from, to, e);
            mem_free(from);
        } else {
            char *from = mem_format("%s/%s", from_folder, file->name);
            uint64_t size = 0;
            uint32_t crc = 0;
            rc = checkpoint_file_walk(env, from, to, &size, &crc, e);
            if (rc == ERRC_OK && (size != file->size || crc != file->crc)) {
                rc = error_set(e, ERRC_CORRUPT, "'%s' does not match its checkpoint's manifest", from);
            }
            mem_free(from);
        }
        mem_free(to);
    }
    return rc;
}

enum errc checkpoint_copy(struct env *env, const char *source_dir, const char *target_dir, uint64_t index,
                          struct error *e)
{
    struct manifest manifest;
    struct manifest older;
    struct env_stat stat;
    char *older_folder = NULL;
    char *from = checkpoint_path(source_dir, index, "");
    char *to = checkpoint_path(target_dir, index, "");
    char *temporary = checkpoint_path(target_dir, index, ".new");
    enum errc rc = ERRC_OK;
    if (env->vt->stat_path(env, to, &stat, NULL) != ERRC_OK) {
        manifest_before(env, target_dir, index, &older, &older_folder);
        rc = read_error(manifest_read(env, from, index, &manifest, e));
        rc = rc == ERRC_OK ? checkpoint_folder_remove(env, temporary, e) : rc;
        rc = rc == ERRC_OK ? env->vt->mkdir(env, temporary, e) : rc;
        rc = rc == ERRC_OK ? files_copy(env, from, temporary, &manifest, &older, older_folder, e) : rc;
        rc = rc == ERRC_OK ? manifest_write(env, temporary, &manifest, e) : rc;
        rc = rc == ERRC_OK ? checkpoint_publish(env, temporary, to, target_dir, e) : rc;
        manifest_free(&manifest);
        manifest_free(&older);
    }
    mem_free(older_folder);
    mem_free(temporary);
    mem_free(to);
    mem_free(from);
    return rc;
}

/* Under another name until it is whole: the map itself would not notice every file that a crash left out. */
enum errc checkpoint_restore(struct env *env, const char *metadata_dir, uint64_t index, const char *store_path,
                             struct error *e)
{
    struct manifest manifest;
    char *folder = checkpoint_path(metadata_dir, index, "");
    char *temporary = mem_format("%s.new", store_path);
    enum errc rc = manifest_read(env, folder, index, &manifest, e);
    rc = rc == ERRC_OK ? checkpoint_folder_remove(env, temporary, e) : rc;
    rc = rc == ERRC_OK ? env->vt->mkdir(env, temporary, e) : rc;
    rc = rc == ERRC_OK ? files_copy(env, folder, temporary, &manifest, NULL, NULL, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_folder_remove(env, store_path, e) : rc;
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, metadata_dir, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_publish(env, temporary, store_path, metadata_dir, e) : rc;
    manifest_free(&manifest);
    mem_free(temporary);
    mem_free(folder);
    return rc;
}

/* ---- pruning ---- */

struct prune_names {
    char *names[128];
    size_t count;
    char keep[FILE_NAME_BYTES];
};

static void prune_visit(void *data, const char *name)
{
    struct prune_names *prune = data;
    if (strncmp(name, "checkpoint-", 11) == 0 && strcmp(name, prune->keep) != 0 && prune->count < 128) {
        prune->names[prune->count++] = mem_strdup(name);
    }
}

enum errc checkpoint_prune(struct env *env, const char *metadata_dir, uint64_t index, struct error *e)
{
    struct prune_names prune = { .count = 0 };
    char *keep = mem_format("checkpoint-%016llx", (unsigned long long)index);
    memcpy(prune.keep, keep, strlen(keep) + 1);
    mem_free(keep);
    enum errc rc = env->vt->list(env, metadata_dir, prune_visit, &prune, e);
    for (size_t i = 0; i < prune.count; i++) {
        char *path = mem_format("%s/%s", metadata_dir, prune.names[i]);
        rc = rc == ERRC_OK ? checkpoint_folder_remove(env, path, e) : rc;
        mem_free(path);
        mem_free(prune.names[i]);
    }
    return rc;
}
