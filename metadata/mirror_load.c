/* Reading a log: what belongs to it, where it ends, and whether that end is a torn write or damage. */
#include "metadata/mirror.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "metadata/mirror_files.h"

#include <string.h>

/* ---- records ---- */

struct record {
    uint64_t index, term, batch_first;
    uint32_t type, length, chain, crc;
    const uint8_t *data;
};

/* A whole, valid record at `at`. */
static bool record_parse(struct slice bytes, uint32_t mark, size_t at, struct record *ret)
{
    if (at > bytes.len || bytes.len - at < LOG_RECORD_HEADER_BYTES) {
        return false;
    }
    const uint8_t *header = bytes.data + at;
    if (load_le32(header) != mark || load_le32(header + 4) != crc32c(header + 8, LOG_RECORD_HEADER_BYTES - 8)) {
        return false;
    }
    *ret = (struct record){ load_le64(header + 8),  load_le64(header + 16), load_le64(header + 24),
                            load_le32(header + 32), load_le32(header + 36), load_le32(header + 44),
                            load_le32(header + 4),  header + LOG_RECORD_HEADER_BYTES };
    return ret->length <= LOG_ENTRY_BYTES_MAX && ret->length <= bytes.len - at - LOG_RECORD_HEADER_BYTES &&
           load_le32(header + 40) == crc32c(ret->data, ret->length);
}

/* Is there, anywhere behind `at`, a record of a write that began after `index`? Then `index` was acknowledged. */
static bool later_write_exists(struct slice bytes, uint32_t mark, size_t at, uint64_t index)
{
    struct record record;
    for (; bytes.len >= LOG_RECORD_HEADER_BYTES && at <= bytes.len - LOG_RECORD_HEADER_BYTES; at++) {
        if (record_parse(bytes, mark, at, &record) && record.batch_first > index) {
            return true;
        }
    }
    return false;
}

/* ---- loading ---- */

struct loader {
    struct mirror *mirror;
    struct log_contents *contents;
    size_t capacity;
    bool any;                /* a first record was seen */
    bool read_only;          /* leave the files alone, and do not look behind `until` */
    uint64_t until;
};

static void loader_add(struct loader *loader, const struct record *record)
{
    struct log_contents *contents = loader->contents;
    if (contents->count == loader->capacity) {
        loader->capacity = loader->capacity > 0 ? 2 * loader->capacity : 1024;
        contents->entries = mem_realloc(contents->entries, loader->capacity * sizeof(contents->entries[0]));
    }
    /* Data moves when `bytes` grows: remember the offset now, make it a pointer at the end. */
    contents->entries[contents->count++] = (struct log_entry){
        record->index, record->term, record->crc, (uint8_t)record->type,
        { (const uint8_t *)(uintptr_t)contents->bytes.len, record->length },
    };
    enc_raw(&contents->bytes, record->data, record->length);
    contents->chain = record->crc;
    contents->byte_count += LOG_RECORD_HEADER_BYTES + record->length;
}

static uint64_t next_index(const struct log_contents *contents)
{
    return contents->first_index + contents->count;
}

/* Records of one segment; *ret_end is the offset behind the last good one. */
static enum errc segment_records(struct loader *loader, const char *path, struct slice bytes, size_t *ret_end,
                                 struct error *e)
{
    struct log_contents *contents = loader->contents;
    size_t at = SEGMENT_HEADER_BYTES;
    struct record record;
    const uint32_t mark = log_record_mark(loader->mirror->cluster);
    while (record_parse(bytes, mark, at, &record) && record.index == next_index(contents) &&
           record.chain == contents->chain && record.index <= loader->until) {
        loader_add(loader, &record);
        at += LOG_RECORD_HEADER_BYTES + record.length;
    }
    *ret_end = at;
    if (at < bytes.len && next_index(contents) <= loader->until &&
        later_write_exists(bytes, mark, at, next_index(contents))) {
        return error_set(e, ERRC_CORRUPT, "'%s' is damaged at offset %zu, before acknowledged records", path, at);
    }
    return ERRC_OK;
}

/* Is there a whole record, anywhere? Then the header in front of it was durable. */
static bool record_exists(struct slice bytes, uint32_t mark)
{
    struct record record;
    for (size_t at = 0; at < bytes.len; at++) {
        if (record_parse(bytes, mark, at, &record)) {
            return true;
        }
    }
    return false;
}

/* The bytes of a segment: its header, then its records. *ret_end 0: it holds nothing, not even a header. */
static enum errc segment_parse(struct loader *loader, const char *path, uint64_t first, bool last, struct slice bytes,
                               size_t *ret_end, struct error *e)
{
    struct log_contents *contents = loader->contents;
    uint8_t expected[SEGMENT_HEADER_BYTES];
    enum errc rc = ERRC_OK;
    *ret_end = 0;
    if (!loader->any && bytes.len >= SEGMENT_HEADER_BYTES) {
        contents->first_index = first;
        contents->chain = load_le32(bytes.data + 36); /* checked with the header */
    }
    mirror_segment_header(loader->mirror, first, contents->chain, expected);
    bool whole = bytes.len >= SEGMENT_HEADER_BYTES && memcmp(bytes.data, expected, SEGMENT_HEADER_BYTES) == 0;
    if (whole && (!loader->any || first == next_index(contents))) {
        loader->any = true;
        rc = segment_records(loader, path, bytes, ret_end, e);
    } else if (whole || !last || record_exists(bytes, log_record_mark(loader->mirror->cluster))) {
        return error_set(e, ERRC_CORRUPT, "'%s': its header is damaged or out of sequence", path);
    }
    if (rc == ERRC_OK && !last && *ret_end < bytes.len && next_index(contents) <= loader->until) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' is damaged at offset %zu, and is not the last segment", path, *ret_end);
    }
    return rc;
}

/* The last segment: what is behind `end` was never acknowledged; the next record goes there. */
static enum errc segment_reopen(struct mirror *mirror, const char *path, uint64_t first, size_t end, size_t size,
                                struct error *e)
{
    struct env *env = mirror->env;
    if (end == 0) {
        return env->vt->unlink(env, path, e); /* torn while it was begun */
    }
    enum errc rc = env->vt->open(env, path, 0, &mirror->segment, e);
    if (rc == ERRC_OK && end < size) {
        rc = env->vt->truncate(env, mirror->segment, end, e);
        rc = rc == ERRC_OK ? env->vt->fdatasync(env, mirror->segment, e) : rc;
    }
    return rc == ERRC_OK ? mirror_segment_adopt(mirror, first, end, e) : rc;
}

static enum errc segment_load(struct loader *loader, uint64_t first, bool last, struct error *e)
{
    struct mirror *mirror = loader->mirror;
    char *path = mirror_segment_path(mirror, first);
    struct enc bytes = ENC_INIT;
    size_t end = 0;
    enum errc rc = mirror_file_read(mirror->env, path, SEGMENT_BYTES_MAX, &bytes, e);
    rc = rc == ERRC_OK ? segment_parse(loader, path, first, last, enc_slice(&bytes), &end, e) : rc;
    if (rc == ERRC_OK && last && !loader->read_only) {
        rc = segment_reopen(mirror, path, first, end, bytes.len, e);
    }
    enc_free(&bytes);
    mem_free(path);
    return rc;
}

static enum errc log_read(struct loader *loader, struct error *e)
{
    struct log_contents *contents = loader->contents;
    struct segment_names *names = mem_alloc(sizeof(*names));
    *contents = (struct log_contents){ .first_index = 1 };
    enum errc rc = mirror_segments_list(loader->mirror, names, e);
    for (size_t i = 0; i < names->count && rc == ERRC_OK; i++) {
        if (!loader->any || next_index(contents) <= loader->until) {
            rc = segment_load(loader, names->first[i], i + 1 == names->count, e);
        }
    }
    mem_free(names);
    for (size_t i = 0; i < contents->count; i++) {
        struct slice *data = &contents->entries[i].data;
        data->data = data->len > 0 ? contents->bytes.data + (uintptr_t)data->data : NULL;
    }
    if (rc == ERRC_OK && contents->count == 0) { /* the first start writes record 1, and a cut leaves some */
        rc = error_set(e, ERRC_CORRUPT, "'%s' has no log records", loader->mirror->dir);
    }
    if (rc != ERRC_OK) {
        log_contents_free(contents);
    }
    return rc;
}

enum errc mirror_log_load(struct mirror *mirror, struct log_contents *ret_contents, struct error *e)
{
    struct loader loader = { .mirror = mirror, .contents = ret_contents, .until = UINT64_MAX };
    ASSERT(mirror->segment == NULL);
    return log_read(&loader, e);
}

enum errc mirror_log_read(struct mirror *mirror, uint64_t until, struct log_contents *ret_contents, struct error *e)
{
    struct loader loader = { .mirror = mirror, .contents = ret_contents, .read_only = true, .until = until };
    enum errc rc = log_read(&loader, e);
    if (rc == ERRC_OK && next_index(ret_contents) <= until) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' ends before index %llu", mirror->dir, (unsigned long long)until);
        log_contents_free(ret_contents);
    }
    return rc;
}

void log_contents_free(struct log_contents *contents)
{
    enc_free(&contents->bytes);
    mem_free(contents->entries);
    *contents = (struct log_contents){ .first_index = 0 };
}
