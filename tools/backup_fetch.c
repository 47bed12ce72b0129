#include "tools/backup_fetch.h"

#include "common/base/crc32c.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (1u << 20)

static enum errc file_check(FILE *file, const struct backup_file *want, struct error *e)
{
    struct digest digest;
    uint8_t sha256[SHA256_BYTES];
    char hex[BACKUP_HEX_BYTES];
    uint8_t *block = mem_alloc(BLOCK_BYTES);
    uint64_t size = 0;
    uint32_t crc = 0;
    size_t len;
    digest_init(&digest, DIGEST_SHA256);
    rewind(file);
    while ((len = fread(block, 1, BLOCK_BYTES, file)) > 0) {
        digest_update(&digest, block, len);
        crc = crc32c_update(crc, block, len);
        size += len;
    }
    digest_final(&digest, sha256);
    digest_done(&digest);
    mem_free(block);
    hex_encode(sha256, sizeof(sha256), hex);
    bool whole = ferror(file) == 0 && size == want->size && crc == want->crc32c && strcmp(hex, want->sha256) == 0;
    return whole ? ERRC_OK : error_set(e, ERRC_CORRUPT, "file %s of the backup ('%s') is damaged", want->sha256, want->name);
}

static enum errc file_fetch(const struct s3_client *client, const char *cluster, const struct backup_file *want,
                            const char *folder, struct error *e)
{
    char *path = mem_format("%s/%s", folder, want->name);
    char *key = backup_file_key(cluster, want->sha256);
    FILE *file = fopen(path, "w+e");
    enum errc rc = file == NULL ? error_set(e, ERRC_IO, "cannot write '%s': %s", path, strerror(errno))
                                : s3_client_get(client, key, file, e);
    rc = rc == ERRC_OK ? file_check(file, want, e) : rc;
    if (rc == ERRC_OK && fsync(fileno(file)) != 0) {
        rc = error_set(e, ERRC_IO, "cannot write '%s': %s", path, strerror(errno));
    }
    if (file != NULL) {
        (void)fclose(file); /* all of it is synced, or of no use */
    }
    mem_free(key);
    mem_free(path);
    return rc;
}

static enum errc folder_sync(const char *folder, struct error *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum errc rc = fd >= 0 && fsync(fd) == 0 ? ERRC_OK : error_set(e, ERRC_IO, "cannot write '%s': %s", folder, strerror(errno));
    if (fd >= 0) {
        (void)close(fd); /* nothing was written through it */
    }
    return rc;
}

enum errc backup_fetch(const struct s3_client *client, const struct backup *backup, const char *folder, struct error *e)
{
    enum errc rc = ERRC_OK;
    for (size_t i = 0; i < backup->count && rc == ERRC_OK; i++) {
        rc = file_fetch(client, backup->cluster, &backup->files[i], folder, e);
    }
    return rc == ERRC_OK ? folder_sync(folder, e) : rc;
}
