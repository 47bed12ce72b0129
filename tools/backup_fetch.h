/*
 * backup_fetch - a backup's files, brought into a folder: each with the size, CRC32C and SHA-256 that the backup says, synced.
 */
#ifndef TOOLS_BACKUP_FETCH_H
#define TOOLS_BACKUP_FETCH_H

#include "tools/backup_list.h"

/* `folder` is there and empty. CORRUPT: a file in the bucket is not what it was. */
MUST_CHECK enum errc backup_fetch(const struct s3_client *client, const struct backup *backup, const char *folder, struct error *e);

#endif
