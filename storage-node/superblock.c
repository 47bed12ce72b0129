#include "storage-node/superblock.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/env_replace.h"
#include "common/base/mem.h"

#include <stddef.h>

#define SUPERBLOCK_BYTES 128
static const char superblock_magic[8] = { 'C', 'A', 'I', 'R', 'N', 'D', 'S', 'K' };

/* As it lies on the disk; integers little-endian. */
struct superblock_disk {
    uint8_t magic[8];
    uint8_t format[4];
    uint8_t crc[4]; /* CRC32C of the whole with this field zero */
    uint8_t cluster[ID_BYTES];
    uint8_t disk[ID_BYTES];
    uint8_t created_wall_ms[8];
    uint8_t reserved[72]; /* zero */
};
STATIC_ASSERT(sizeof(struct superblock_disk) == SUPERBLOCK_BYTES, "superblock has 128 bytes");

static uint32_t superblock_crc(const struct superblock_disk *raw)
{
    struct superblock_disk copy = *raw;
    memset(copy.crc, 0, sizeof(copy.crc));
    return crc32c(&copy, sizeof(copy));
}

static enum errc superblock_parse(const struct superblock_disk *raw, size_t len, const char *dir,
                                  struct superblock *ret, struct error *e)
{
    /* Size and checksum are those of every format: a flipped bit in the number is damage to one disk, not a newer program. */
    if (len != sizeof(*raw) || memcmp(raw->magic, superblock_magic, sizeof(raw->magic)) != 0 ||
        load_le32(raw->crc) != superblock_crc(raw) || load_le32(raw->format) < SUPERBLOCK_FORMAT) {
        return error_set(e, ERRC_CORRUPT, "%s/%s is damaged", dir, SUPERBLOCK_NAME);
    }
    if (load_le32(raw->format) > SUPERBLOCK_FORMAT) {
        return error_set(e, ERRC_FORMAT, "'%s' was formatted by a newer program (format %u, this one knows %u)",
                         dir, load_le32(raw->format), SUPERBLOCK_FORMAT);
    }
    memcpy(ret->cluster.bytes, raw->cluster, ID_BYTES);
    memcpy(ret->disk.bytes, raw->disk, ID_BYTES);
    ret->created_wall_ms = load_le64(raw->created_wall_ms);
    if (disk_id_is_zero(ret->disk)) { /* never written; zero means "none" elsewhere */
        return error_set(e, ERRC_CORRUPT, "%s/%s names no disk", dir, SUPERBLOCK_NAME);
    }
    return ERRC_OK;
}

static enum errc superblock_load(struct env *env, struct env_file *file, const char *dir,
                                 struct superblock *ret, struct error *e)
{
    struct superblock_disk raw;
    size_t len = 0;
    memset(&raw, 0, sizeof(raw));
    enum errc rc = env->vt->pread(env, file, &raw, sizeof(raw), 0, &len, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct env_stat stat;
    rc = env->vt->stat_file(env, file, &stat, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret->device = stat.device;
    ret->inode = stat.inode;
    return superblock_parse(&raw, len, dir, ret, e);
}

enum errc superblock_read(struct env *env, const char *dir, const struct cluster_id *cluster,
                          struct superblock *ret, struct error *e)
{
    char *path = mem_format("%s/%s", dir, SUPERBLOCK_NAME);
    struct env_file *file = NULL;
    struct superblock superblock = { .device = 0 };
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    mem_free(path);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = superblock_load(env, file, dir, &superblock, e);
    env->vt->close(env, file);
    if (rc != ERRC_OK) {
        return rc;
    }
    *ret = superblock;
    if (cluster != NULL && !cluster_id_equal(*cluster, superblock.cluster)) {
        char text[ID_HEX_BYTES];
        id_hex(superblock.cluster.bytes, text);
        return error_set(e, ERRC_CONFLICT, "%s belongs to another cluster (%s)", dir, text);
    }
    return ERRC_OK;
}

enum errc superblock_write(struct env *env, const char *dir, const struct superblock *superblock,
                           struct error *e)
{
    ASSERT(!disk_id_is_zero(superblock->disk));
    struct superblock_disk raw;
    memset(&raw, 0, sizeof(raw));
    memcpy(raw.magic, superblock_magic, sizeof(raw.magic));
    store_le32(raw.format, SUPERBLOCK_FORMAT);
    memcpy(raw.cluster, superblock->cluster.bytes, ID_BYTES);
    memcpy(raw.disk, superblock->disk.bytes, ID_BYTES);
    store_le64(raw.created_wall_ms, superblock->created_wall_ms);
    store_le32(raw.crc, superblock_crc(&raw));
    return env_file_replace(env, dir, SUPERBLOCK_NAME, slice_of(&raw, sizeof(raw)), e);
}
