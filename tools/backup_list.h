/*
 * backup_list - what a backup of a cluster's metadata consists of: one JSON file, and how it is found. Format: docs/formats/backup.md.
 *
 *     PREFIX/<cluster>/files/<sha256>                     files of checkpoints, each once however many backups have it
 *     PREFIX/<cluster>/backups/<time>-<sha256>.json       a backup: written last, and its name says what its bytes must be
 *
 * Thread: the caller's.
 */
#ifndef TOOLS_BACKUP_LIST_H
#define TOOLS_BACKUP_LIST_H

#include "tools/s3_client.h"

#include <jansson.h>
#include <stdbool.h>

#define BACKUP_NAME_BYTES 128 /* of a file */
#define BACKUP_HEX_BYTES (2 * SHA256_BYTES + 1)
#define BACKUP_CLUSTER_BYTES 33
#define BACKUP_MADE_BYTES 20  /* 20261124T041500Z */

struct backup_file {
    char name[BACKUP_NAME_BYTES];
    uint64_t size;
    uint32_t crc32c;
    char sha256[BACKUP_HEX_BYTES];
};

struct backup {
    char cluster[BACKUP_CLUSTER_BYTES];
    char made[BACKUP_MADE_BYTES];
    uint64_t index, term;  /* of the checkpoint */
    struct backup_file *files;
    size_t count;
};

void backup_free(struct backup *backup);
struct backup_file *backup_add(struct backup *backup); /* zeroed */
/* Equal name, size and CRC32C of files of one cluster's tables: the same file. NULL: none. */
const struct backup_file *backup_find(const struct backup *backup, const struct backup_file *file);
uint64_t backup_bytes(const struct backup *backup);

/* Files of a checkpoint, {name, size, crc32c} and here sha256 too. False: they make no sense. */
bool backup_files_parse(json_t *files, bool with_sha256, struct backup *backup);

/* Writes the backup's own file: it is complete from then on. Gives its name ("<time>-<sha256>.json"). */
MUST_CHECK enum errc backup_write(const struct s3_client *client, const struct backup *backup, char **ret_name, struct error *e);
/* Names of a cluster's backups, oldest first; each is visited. */
MUST_CHECK enum errc backup_names(const struct s3_client *client, const char *cluster,
                                  void (*visit)(void *data, const char *name), void *data, struct error *e);
/* The newest one's name. Gives. NOT_FOUND: there is none. */
MUST_CHECK enum errc backup_newest(const struct s3_client *client, const char *cluster, char **ret_name, struct error *e);
/* Reads and verifies. NOT_FOUND, CORRUPT. To be freed when OK. */
MUST_CHECK enum errc backup_read(const struct s3_client *client, const char *cluster, const char *name, struct backup *ret,
                                 struct error *e);
char *backup_file_key(const char *cluster, const char *sha256); /* gives */

#endif
