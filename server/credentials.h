/*
 * credentials - the root keys and the cluster secret, kept in every DIR (file DIR/credentials, mode 0600).
 *
 * The file is text, ends with a CRC32C of what stands before it, and carries a generation: a rotation writes
 * generation + 1 to every DIR, and the highest good generation among the DIRs wins at the next start, so a
 * crash half-way leaves the old keys or the new ones, never none. Nothing here is ever logged.
 * Bytes: docs/formats/data-dir.md.
 */
#ifndef SERVER_CREDENTIALS_H
#define SERVER_CREDENTIALS_H

#include "common/base/env.h"
#include "common/base/id.h"
#include "server/text_file.h"

#define ACCESS_KEY_BYTES_MIN 3
#define ACCESS_KEY_BYTES_MAX 128
#define SECRET_KEY_BYTES_MIN 8
#define SECRET_KEY_BYTES_MAX 128
#define CLUSTER_SECRET_BYTES 32

struct credentials {
    struct cluster_id cluster;
    uint64_t generation; /* 1 at the first start */
    char access_key[ACCESS_KEY_BYTES_MAX + 1];
    char secret_key[SECRET_KEY_BYTES_MAX + 1];
    uint8_t cluster_secret[CLUSTER_SECRET_BYTES]; /* keys of version ids and list tokens derive from it */
};

/* New random keys and secret, generation 1. */
void credentials_generate(struct env *env, struct cluster_id cluster, struct credentials *ret);

/* Characters and lengths that keys may have: printable ASCII without spaces, and no '/' in an access key. */
MUST_CHECK enum errc credentials_check(const char *access_key, const char *secret_key, struct error *e);

/* The file's text, sealed; and back. `name` is for messages. The caller wipes the text. */
size_t credentials_print(const struct credentials *in, char text[TEXT_FILE_BYTES_MAX]);
MUST_CHECK enum errc credentials_parse(const char *text, const char *name, struct credentials *ret, struct error *e);

/* NOT_FOUND: no file. CORRUPT: it does not hold together. FORMAT: from a newer program. */
MUST_CHECK enum errc credentials_read(struct env *env, const char *dir, struct credentials *ret, struct error *e);

/* Durable when it returns: temporary file, fdatasync, rename, fsync of the folder. */
MUST_CHECK enum errc credentials_write(struct env *env, const char *dir, const struct credentials *in,
                                       struct error *e);

#endif
