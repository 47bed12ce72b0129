#include "server/credentials.h"

#include "common/base/env_replace.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "credentials"
#define FILE_FORMAT 1

/* Uniform over the alphabet: bytes that would bias are drawn again. */
static void random_text(struct env *env, const char *alphabet, size_t len, char *ret_text)
{
    size_t letters = strlen(alphabet);
    size_t bound = 256 - 256 % letters;
    for (size_t i = 0; i < len;) {
        uint8_t byte;
        env_random(env, &byte, 1);
        if (byte < bound) {
            ret_text[i++] = alphabet[byte % letters];
        }
    }
    ret_text[len] = '\0';
}

void credentials_generate(struct env *env, struct cluster_id cluster, struct credentials *ret)
{
    *ret = (struct credentials){ .cluster = cluster, .generation = 1 };
    memcpy(ret->access_key, "AKIA", 4);
    random_text(env, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16, ret->access_key + 4);
    random_text(env, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 40, ret->secret_key);
    env_random(env, ret->cluster_secret, sizeof(ret->cluster_secret));
}

static bool text_is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

enum errc credentials_check(const char *access_key, const char *secret_key, struct error *e)
{
    size_t access_len = strlen(access_key);
    size_t secret_len = strlen(secret_key);
    if (access_len < ACCESS_KEY_BYTES_MIN || access_len > ACCESS_KEY_BYTES_MAX ||
        !text_is_printable(access_key) || strpbrk(access_key, "/,=") != NULL) {
        return error_set(e, ERRC_INVALID,
                         "the root access key must be %d to %d printable characters without space, '/', ',' and '='",
                         ACCESS_KEY_BYTES_MIN, ACCESS_KEY_BYTES_MAX);
    }
    if (secret_len < SECRET_KEY_BYTES_MIN || secret_len > SECRET_KEY_BYTES_MAX || !text_is_printable(secret_key)) {
        return error_set(e, ERRC_INVALID, "the root secret key must be %d to %d printable characters without space",
                         SECRET_KEY_BYTES_MIN, SECRET_KEY_BYTES_MAX);
    }
    return ERRC_OK;
}

enum errc credentials_parse(const char *text, const char *name, struct credentials *ret, struct error *e)
{
    enum errc rc = text_file_check(text, name, FILE_FORMAT, e);
    struct credentials credentials = { .generation = 0 };
    if (rc == ERRC_OK &&
        (!text_file_number(text, "generation", &credentials.generation) ||
         !text_file_hex(text, "cluster", credentials.cluster.bytes, ID_BYTES) ||
         !text_file_copy(text, "access_key", 0, credentials.access_key, sizeof(credentials.access_key)) ||
         !text_file_copy(text, "secret_key", 0, credentials.secret_key, sizeof(credentials.secret_key)) ||
         !text_file_hex(text, "cluster_secret", credentials.cluster_secret, CLUSTER_SECRET_BYTES))) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' lacks a line", name);
    }
    if (rc == ERRC_OK) {
        *ret = credentials;
    }
    mem_wipe(&credentials, sizeof(credentials));
    return rc;
}

enum errc credentials_read(struct env *env, const char *dir, struct credentials *ret, struct error *e)
{
    char *path = mem_format("%s/" FILE_NAME, dir);
    char text[TEXT_FILE_BYTES_MAX + 1];
    enum errc rc = text_file_read(env, path, FILE_FORMAT, text, e);
    rc = rc == ERRC_OK ? credentials_parse(text, path, ret, e) : rc;
    mem_wipe(text, sizeof(text));
    mem_free(path);
    return rc;
}

size_t credentials_print(const struct credentials *in, char text[TEXT_FILE_BYTES_MAX])
{
    char cluster[ID_HEX_BYTES];
    char secret[2 * CLUSTER_SECRET_BYTES + 1];
    id_hex(in->cluster.bytes, cluster);
    hex_encode(in->cluster_secret, CLUSTER_SECRET_BYTES, secret);
    int len = snprintf(text, TEXT_FILE_BYTES_MAX,
                       "# Root credentials of this Cairn data set: whoever reads this file owns the data.\n"
                       "format=%d\ngeneration=%llu\ncluster=%s\naccess_key=%s\nsecret_key=%s\ncluster_secret=%s\n",
                       FILE_FORMAT, (unsigned long long)in->generation, cluster, in->access_key, in->secret_key,
                       secret);
    mem_wipe(secret, sizeof(secret));
    return text_file_seal(text, (size_t)len);
}

enum errc credentials_write(struct env *env, const char *dir, const struct credentials *in, struct error *e)
{
    char text[TEXT_FILE_BYTES_MAX];
    enum errc rc = env_file_replace(env, dir, FILE_NAME, slice_of(text, credentials_print(in, text)), e);
    mem_wipe(text, sizeof(text));
    return rc;
}
