#include "metadata/mirror.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/env_replace.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "metadata/mirror_files.h"
#include "metadata/snapshot_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC 0x3154534e52494143u /* "CAIRNST1" */
#define STATE_FORMAT 2 /* 1: no voter but number 1 */
#define STATE_BYTES_MAX (1u << 20)
#define SEGMENT_MAGIC 0x31474f4c4e524143u /* "CARNLOG1" */
#define SEGMENT_FORMAT 1
#define RECORD_MAGIC 0x31524c43u /* "CLR1" */

enum { DIR_MIRROR = 1, DIR_COUNTED = 2 };

STATIC_ASSERT(LOG_RECORD_HEADER_BYTES == 48, "docs/formats/metadata-log.md");

void mirror_init(struct mirror *mirror, struct env *env, struct cluster_id cluster, struct disk_id disk,
                 const char *path)
{
    *mirror = (struct mirror){ .env = env, .cluster = cluster, .disk = disk, .segment_bytes = LOG_SEGMENT_BYTES,
                               .dir = mem_format("%s/metadata", path) };
}

void mirror_done(struct mirror *mirror)
{
    if (mirror->segment != NULL) {
        mirror->env->vt->close(mirror->env, mirror->segment);
    }
    mem_free(mirror->dir);
    *mirror = (struct mirror){ .segment = NULL };
}

enum errc mirror_create(struct mirror *mirror, struct error *e)
{
    struct error why = ERROR_INIT;
    enum errc rc = mirror->env->vt->mkdir(mirror->env, mirror->dir, &why);
    if (rc != ERRC_OK && rc != ERRC_EXISTS) {
        return error_set(e, rc, "%s", why.text);
    }
    char *slash = strrchr(mirror->dir, '/');
    char *parent = mem_strndup(mirror->dir, (size_t)(slash - mirror->dir));
    rc = mirror->env->vt->fsync_dir(mirror->env, parent, e);
    mem_free(parent);
    return rc;
}

/* ---- state ---- */

static void state_encode(struct enc *out, const struct mirror_state *state)
{
    enc_u64(out, STATE_MAGIC);
    enc_u32(out, STATE_FORMAT);
    enc_raw(out, state->cluster.bytes, ID_BYTES);
    enc_raw(out, state->self.bytes, ID_BYTES);
    enc_u64(out, state->generation);
    enc_u64(out, state->nonce);
    enc_u64(out, state->term);
    enc_u64(out, state->vote);
    enc_u64(out, state->raft_id);
    enc_u64(out, state->install_index);
    members_encode(out, &state->members);
    enc_u32(out, state->wanted);
    enc_u32(out, state->dir_count);
    for (uint32_t i = 0; i < state->dir_count; i++) {
        enc_raw(out, state->dirs[i].disk.bytes, ID_BYTES);
        enc_bytes(out, slice_str(state->dirs[i].path));
        enc_u8(out, (uint8_t)((state->dirs[i].is_mirror ? DIR_MIRROR : 0) | (state->dirs[i].is_counted ? DIR_COUNTED : 0)));
    }
    enc_u32(out, crc32c(out->data, out->len));
}

static enum errc state_decode(struct slice bytes, const char *path, struct mirror_state *state, struct error *e)
{
    struct dec dec = dec_of(bytes);
    if (bytes.len < 16 || load_le32(bytes.data + bytes.len - 4) != crc32c(bytes.data, bytes.len - 4) ||
        dec_u64(&dec) != STATE_MAGIC) {
        return error_set(e, ERRC_CORRUPT, "'%s' is damaged", path);
    }
    uint32_t format = dec_u32(&dec);
    if (format > STATE_FORMAT) {
        return error_set(e, ERRC_FORMAT, "'%s' has format %u, this program knows %d", path, format, STATE_FORMAT);
    }
    dec_copy(&dec, state->cluster.bytes, ID_BYTES);
    dec_copy(&dec, state->self.bytes, ID_BYTES);
    state->generation = dec_u64(&dec);
    state->nonce = dec_u64(&dec);
    state->term = dec_u64(&dec);
    state->vote = dec_u64(&dec);
    state->raft_id = 1;
    state->members = (struct raft_core_members){ .index = 1, .count = 1, .list[0] = { .id = 1, .votes = true } };
    if (format >= 2) {
        state->raft_id = dec_u64(&dec);
        state->install_index = dec_u64(&dec);
        members_decode(&dec, &state->members);
    }
    state->wanted = dec_u32(&dec);
    state->dir_count = dec_u32(&dec);
    for (uint32_t i = 0; i < state->dir_count && i < MIRROR_DIRS_MAX; i++) {
        dec_copy(&dec, state->dirs[i].disk.bytes, ID_BYTES);
        struct slice text = dec_bytes(&dec);
        (void)snprintf(state->dirs[i].path, MIRROR_PATH_BYTES, "%.*s", (int)text.len, (const char *)text.data);
        uint8_t flags = dec_u8(&dec);
        state->dirs[i].is_mirror = (flags & DIR_MIRROR) != 0;
        state->dirs[i].is_counted = (flags & DIR_COUNTED) != 0;
    }
    (void)dec_u32(&dec); /* the CRC, checked above */
    return dec_done(&dec) && state->dir_count <= MIRROR_DIRS_MAX ? ERRC_OK
                                                                 : error_set(e, ERRC_CORRUPT, "'%s' is damaged", path);
}

enum errc mirror_file_read(struct env *env, const char *path, uint64_t bytes_max, struct enc *out, struct error *e)
{
    struct env_file *file = NULL;
    struct env_stat stat;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = env->vt->stat_file(env, file, &stat, e);
    if (rc == ERRC_OK && stat.size > bytes_max) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' is too large", path);
    }
    if (rc == ERRC_OK) {
        size_t len = 0;
        uint8_t *at = enc_reserve(out, (size_t)stat.size);
        rc = env->vt->pread(env, file, at, (size_t)stat.size, 0, &len, e);
        out->len -= (size_t)stat.size - len;
    }
    env->vt->close(env, file);
    return rc;
}

enum errc mirror_state_read(struct mirror *mirror, struct mirror_state *ret_state, struct error *e)
{
    char *path = mem_format("%s/state", mirror->dir);
    struct enc bytes = ENC_INIT;
    enum errc rc = mirror_file_read(mirror->env, path, STATE_BYTES_MAX, &bytes, e);
    if (rc == ERRC_OK) {
        *ret_state = (struct mirror_state){ .generation = 0 };
        rc = state_decode(enc_slice(&bytes), path, ret_state, e);
    }
    enc_free(&bytes);
    mem_free(path);
    return rc;
}

enum errc mirror_state_write(struct mirror *mirror, const struct mirror_state *state, struct error *e)
{
    struct mirror_state *own = mem_alloc(sizeof(*own));
    struct enc bytes = ENC_INIT;
    *own = *state;
    own->self = mirror->disk;
    state_encode(&bytes, own);
    enum errc rc = env_file_replace(mirror->env, mirror->dir, "state", enc_slice(&bytes), e);
    enc_free(&bytes);
    mem_free(own);
    return rc;
}

/* ---- records ---- */

uint32_t log_record_mark(struct cluster_id cluster)
{
    return RECORD_MAGIC ^ crc32c(cluster.bytes, ID_BYTES);
}

uint32_t log_record_encode(struct enc *out, struct cluster_id cluster, uint64_t index, uint64_t term, uint8_t type,
                           uint64_t batch_first, uint32_t chain, struct slice data)
{
    ASSERT(data.len <= LOG_ENTRY_BYTES_MAX);
    uint8_t *header = enc_reserve(out, LOG_RECORD_HEADER_BYTES);
    store_le32(header, log_record_mark(cluster));
    store_le64(header + 8, index);
    store_le64(header + 16, term);
    store_le64(header + 24, batch_first);
    store_le32(header + 32, type);
    store_le32(header + 36, (uint32_t)data.len);
    store_le32(header + 40, crc32c(data.data, data.len));
    store_le32(header + 44, chain);
    uint32_t crc = crc32c(header + 8, LOG_RECORD_HEADER_BYTES - 8);
    store_le32(header + 4, crc);
    enc_raw(out, data.data, data.len);
    return crc;
}

/* ---- segments ---- */

static void segment_visit(void *data, const char *name)
{
    struct segment_names *names = data;
    char *end = NULL;
    if (strncmp(name, "log-", 4) != 0 || strlen(name) != 4 + 16) {
        return;
    }
    uint64_t first = strtoull(name + 4, &end, 16);
    if (*end != '\0') {
        return;
    }
    if (names->count == SEGMENTS_MAX) {
        names->too_many = true;
        return;
    }
    names->first[names->count++] = first;
}

static int first_compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

enum errc mirror_segments_list(const struct mirror *mirror, struct segment_names *names, struct error *e)
{
    names->count = 0;
    names->too_many = false;
    enum errc rc = mirror->env->vt->list(mirror->env, mirror->dir, segment_visit, names, e);
    if (rc == ERRC_OK && names->too_many) {
        rc = error_set(e, ERRC_LIMIT, "'%s' has too many log segments", mirror->dir);
    }
    qsort(names->first, names->count, sizeof(names->first[0]), first_compare);
    return rc;
}

char *mirror_segment_path(const struct mirror *mirror, uint64_t first)
{
    return mem_format("%s/log-%016llx", mirror->dir, (unsigned long long)first);
}

void mirror_segment_header(const struct mirror *mirror, uint64_t first, uint32_t chain_seed,
                           uint8_t header[SEGMENT_HEADER_BYTES])
{
    memset(header, 0, SEGMENT_HEADER_BYTES);
    store_le64(header, SEGMENT_MAGIC);
    store_le32(header + 8, SEGMENT_FORMAT);
    memcpy(header + 12, mirror->cluster.bytes, ID_BYTES);
    store_le64(header + 28, first);
    store_le32(header + 36, chain_seed);
    store_le32(header + 60, crc32c(header, 60));
}

enum errc mirror_segment_adopt(struct mirror *mirror, uint64_t first, uint64_t end, struct error *e)
{
    struct env_stat stat;
    enum errc rc = mirror->env->vt->stat_file(mirror->env, mirror->segment, &stat, e);
    if (rc == ERRC_OK) {
        mirror->segment_inode = stat.inode;
        mirror->segment_first = first;
        mirror->segment_end = end;
    }
    return rc;
}

/* Header and name are durable before the first record is written: a damaged header before a whole record is damage. */
static enum errc segment_begin(struct mirror *mirror, uint64_t first, uint32_t chain_seed, struct error *e)
{
    struct env *env = mirror->env;
    uint8_t header[SEGMENT_HEADER_BYTES];
    const struct iovec part = { header, sizeof(header) };
    char *path = mirror_segment_path(mirror, first);
    if (mirror->segment != NULL) {
        env->vt->close(env, mirror->segment);
        mirror->segment = NULL;
    }
    mirror_segment_header(mirror, first, chain_seed, header);
    enum errc rc = env->vt->open(env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &mirror->segment, e);
    rc = rc == ERRC_OK ? env->vt->pwritev(env, mirror->segment, &part, 1, 0, e) : rc;
    rc = rc == ERRC_OK ? env->vt->fdatasync(env, mirror->segment, e) : rc;
    rc = rc == ERRC_OK ? env->vt->fsync_dir(env, mirror->dir, e) : rc;
    rc = rc == ERRC_OK ? mirror_segment_adopt(mirror, first, SEGMENT_HEADER_BYTES, e) : rc;
    mem_free(path);
    return rc;
}

static enum errc segment_reachable(const struct mirror *mirror, struct error *e)
{
    struct env_stat stat;
    char *path = mirror_segment_path(mirror, mirror->segment_first);
    enum errc rc = mirror->env->vt->stat_path(mirror->env, path, &stat, e);
    if (rc == ERRC_OK && stat.inode != mirror->segment_inode) {
        rc = error_set(e, ERRC_IO, "'%s' was replaced by another file", path);
    }
    mem_free(path);
    return rc;
}

enum errc mirror_append(struct mirror *mirror, struct slice records, uint64_t first_index, uint32_t chain_seed,
                        struct error *e)
{
    struct env *env = mirror->env;
    if (mirror->segment == NULL || mirror->segment_end >= mirror->segment_bytes) {
        enum errc rc = segment_begin(mirror, first_index, chain_seed, e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    const struct iovec part = { (void *)(uintptr_t)records.data, records.len };
    enum errc rc = env->vt->pwritev(env, mirror->segment, &part, 1, mirror->segment_end, e);
    rc = rc == ERRC_OK && !PLANT(PLANT_LOG_NOT_SYNCED) ? env->vt->fdatasync(env, mirror->segment, e) : rc;
    rc = rc == ERRC_OK ? segment_reachable(mirror, e) : rc;
    if (rc == ERRC_OK) {
        mirror->segment_end += records.len;
    }
    return rc;
}

void mirror_roll(struct mirror *mirror)
{
    if (mirror->segment != NULL) {
        mirror->env->vt->close(mirror->env, mirror->segment);
        mirror->segment = NULL;
    }
}

/* ---- cutting and copying ---- */

enum errc mirror_cut(struct mirror *mirror, uint64_t index, struct error *e)
{
    struct segment_names *names = mem_alloc(sizeof(*names));
    enum errc rc = mirror_segments_list(mirror, names, e);
    for (size_t i = 0; i + 1 < names->count && rc == ERRC_OK; i++) {
        if (names->first[i + 1] <= index) { /* the next segment begins where this one ends */
            char *path = mirror_segment_path(mirror, names->first[i]);
            rc = mirror->env->vt->unlink(mirror->env, path, e);
            /* One at a time, the oldest first: after a crash no gap may stand between segments that are left. */
            rc = rc == ERRC_OK ? mirror->env->vt->fsync_dir(mirror->env, mirror->dir, e) : rc;
            mem_free(path);
        }
    }
    mem_free(names);
    return rc;
}

static enum errc segment_copy(struct mirror *mirror, const struct mirror *source, uint64_t first, struct error *e)
{
    struct env *env = mirror->env;
    char *from = mirror_segment_path(source, first);
    char *to = mirror_segment_path(mirror, first);
    struct enc bytes = ENC_INIT;
    struct env_file *file = NULL;
    enum errc rc = mirror_file_read(env, from, SEGMENT_BYTES_MAX, &bytes, e) == ERRC_OK ? ERRC_OK : ERRC_CORRUPT;
    rc = rc == ERRC_OK ? env->vt->open(env, to, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e) : rc;
    if (rc == ERRC_OK) {
        const struct iovec part = { bytes.data, bytes.len };
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        rc = rc == ERRC_OK ? env->vt->fdatasync(env, file, e) : rc;
        if (rc == ERRC_OK && first == source->segment_first && source->segment != NULL) {
            mirror->segment = file;
            rc = mirror_segment_adopt(mirror, first, bytes.len, e);
        } else {
            env->vt->close(env, file);
        }
    }
    enc_free(&bytes);
    mem_free(to);
    mem_free(from);
    return rc;
}

/* Where the record of `index` begins in the bytes of the segment that begins with `first`; 0: it is not there. */
static size_t record_place(struct slice bytes, uint64_t first, uint64_t index)
{
    size_t at = SEGMENT_HEADER_BYTES;
    for (uint64_t i = first; i < index; i++) {
        if (at > bytes.len || bytes.len - at < LOG_RECORD_HEADER_BYTES || load_le64(bytes.data + at + 8) != i) {
            return 0;
        }
        at += LOG_RECORD_HEADER_BYTES + load_le32(bytes.data + at + 36);
    }
    return at <= bytes.len ? at : 0;
}

static enum errc segment_truncate(struct mirror *mirror, uint64_t first, uint64_t index, struct error *e)
{
    struct env *env = mirror->env;
    struct enc bytes = ENC_INIT;
    char *path = mirror_segment_path(mirror, first);
    mirror_roll(mirror);
    enum errc rc = mirror_file_read(env, path, SEGMENT_BYTES_MAX, &bytes, e);
    size_t end = rc == ERRC_OK ? record_place(enc_slice(&bytes), first, index) : 0;
    if (rc == ERRC_OK && end == 0) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' has no record %llu", path, (unsigned long long)index - 1);
    }
    rc = rc == ERRC_OK ? env->vt->open(env, path, 0, &mirror->segment, e) : rc;
    rc = rc == ERRC_OK ? env->vt->truncate(env, mirror->segment, end, e) : rc;
    rc = rc == ERRC_OK ? env->vt->fdatasync(env, mirror->segment, e) : rc;
    rc = rc == ERRC_OK ? mirror_segment_adopt(mirror, first, end, e) : rc;
    enc_free(&bytes);
    mem_free(path);
    return rc;
}

enum errc mirror_truncate(struct mirror *mirror, uint64_t index, struct error *e)
{
    struct segment_names *names = mem_alloc(sizeof(*names));
    enum errc rc = mirror_segments_list(mirror, names, e);
    size_t kept = names->count;
    for (; kept > 0 && names->first[kept - 1] >= index && rc == ERRC_OK; kept--) { /* the last first: no gap */
        char *path = mirror_segment_path(mirror, names->first[kept - 1]);
        mirror_roll(mirror);
        rc = mirror->env->vt->unlink(mirror->env, path, e);
        rc = rc == ERRC_OK ? mirror->env->vt->fsync_dir(mirror->env, mirror->dir, e) : rc;
        mem_free(path);
    }
    if (rc == ERRC_OK && kept == 0) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' has no log before index %llu", mirror->dir, (unsigned long long)index);
    }
    rc = rc == ERRC_OK ? segment_truncate(mirror, names->first[kept - 1], index, e) : rc;
    mem_free(names);
    return rc;
}

enum errc mirror_log_wipe(struct mirror *mirror, struct error *e)
{
    struct segment_names *names = mem_alloc(sizeof(*names));
    if (mirror->segment != NULL) {
        mirror->env->vt->close(mirror->env, mirror->segment);
        mirror->segment = NULL;
    }
    enum errc rc = mirror_segments_list(mirror, names, e);
    for (size_t i = 0; i < names->count && rc == ERRC_OK; i++) {
        char *path = mirror_segment_path(mirror, names->first[i]);
        rc = mirror->env->vt->unlink(mirror->env, path, e);
        mem_free(path);
    }
    mem_free(names);
    return rc;
}

enum errc mirror_log_copy(struct mirror *mirror, const struct mirror *source, uint64_t last, struct error *e)
{
    struct segment_names *names = mem_alloc(sizeof(*names));
    struct log_contents contents;
    names->count = 0;
    enum errc rc = mirror_log_wipe(mirror, e);
    if (rc == ERRC_OK && mirror_segments_list(source, names, e) != ERRC_OK) {
        rc = ERRC_CORRUPT;
    }
    for (size_t i = 0; i < names->count && rc == ERRC_OK; i++) {
        rc = segment_copy(mirror, source, names->first[i], e);
    }
    rc = rc == ERRC_OK ? mirror->env->vt->fsync_dir(mirror->env, mirror->dir, e) : rc;
    if (rc == ERRC_OK) { /* damage that lay in the source unseen must not count as a second copy */
        rc = mirror_log_read(mirror, last, &contents, e);
        if (rc == ERRC_OK) {
            log_contents_free(&contents);
        }
    }
    mem_free(names);
    return rc;
}
