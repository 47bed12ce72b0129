#include "server/credentials.h"

#include "common/base/crc32c.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "credentials"
#define FILE_FORMAT 1
#define FILE_BYTES_MAX 2048

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

/* The value of "name=" at the start of a line, NULL if absent; *ret_len without the line end. */
static const char *line_value(const char *text, const char *name, size_t *ret_len)
{
    size_t name_len = strlen(name);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (strncmp(line, name, name_len) == 0 && line[name_len] == '=') {
            const char *value = line + name_len + 1;
            *ret_len = end != NULL ? (size_t)(end - value) : strlen(value);
            return value;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}

static bool value_copy(const char *text, const char *name, char *target, size_t capacity)
{
    size_t len = 0;
    const char *value = line_value(text, name, &len);
    if (value == NULL || len == 0 || len >= capacity) {
        return false;
    }
    memcpy(target, value, len);
    target[len] = '\0';
    return true;
}

static bool value_hex(const char *text, const char *name, uint8_t *target, size_t len)
{
    size_t value_len = 0;
    const char *value = line_value(text, name, &value_len);
    return value != NULL && value_len == 2 * len && hex_decode(value, value_len, target);
}

static bool value_number(const char *text, const char *name, uint64_t *ret)
{
    char digits[24];
    if (!value_copy(text, name, digits, sizeof(digits)) || strspn(digits, "0123456789") != strlen(digits)) {
        return false;
    }
    *ret = strtoull(digits, NULL, 10);
    return true;
}

static enum errc credentials_parse(const char *path, const char *text, struct credentials *ret, struct error *e)
{
    uint64_t format = 0;
    uint8_t crc_bytes[4];
    const char *crc_line = strstr(text, "\ncrc32c=");
    if (crc_line == NULL || !value_hex(crc_line + 1, "crc32c", crc_bytes, sizeof(crc_bytes)) ||
        load_be32(crc_bytes) != crc32c(text, (size_t)(crc_line + 1 - text)) ||
        !value_number(text, "format", &format)) {
        return error_set(e, ERRC_CORRUPT, "'%s' is damaged", path);
    }
    if (format > FILE_FORMAT) {
        return error_set(e, ERRC_FORMAT, "'%s' has format %llu, this program knows %d", path,
                         (unsigned long long)format, FILE_FORMAT);
    }
    struct credentials credentials = { .generation = 0 };
    if (!value_number(text, "generation", &credentials.generation) ||
        !value_hex(text, "cluster", credentials.cluster.bytes, ID_BYTES) ||
        !value_copy(text, "access_key", credentials.access_key, sizeof(credentials.access_key)) ||
        !value_copy(text, "secret_key", credentials.secret_key, sizeof(credentials.secret_key)) ||
        !value_hex(text, "cluster_secret", credentials.cluster_secret, CLUSTER_SECRET_BYTES)) {
        return error_set(e, ERRC_CORRUPT, "'%s' lacks a line", path);
    }
    *ret = credentials;
    mem_wipe(&credentials, sizeof(credentials));
    return ERRC_OK;
}

enum errc credentials_read(struct env *env, const char *dir, struct credentials *ret, struct error *e)
{
    char *path = mem_format("%s/" FILE_NAME, dir);
    char text[FILE_BYTES_MAX + 1];
    size_t len = 0;
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pread(env, file, text, FILE_BYTES_MAX, 0, &len, e);
        env->vt->close(env, file);
    }
    if (rc == ERRC_OK) {
        text[len] = '\0';
        rc = credentials_parse(path, text, ret, e);
    }
    mem_wipe(text, sizeof(text));
    mem_free(path);
    return rc;
}

static size_t credentials_print(const struct credentials *in, char text[FILE_BYTES_MAX])
{
    char cluster[ID_HEX_BYTES];
    char secret[2 * CLUSTER_SECRET_BYTES + 1];
    id_hex(in->cluster.bytes, cluster);
    hex_encode(in->cluster_secret, CLUSTER_SECRET_BYTES, secret);
    int len = snprintf(text, FILE_BYTES_MAX,
                       "# Root credentials of this Cairn data set: whoever reads this file owns the data.\n"
                       "format=%d\ngeneration=%llu\ncluster=%s\naccess_key=%s\nsecret_key=%s\ncluster_secret=%s\n",
                       FILE_FORMAT, (unsigned long long)in->generation, cluster, in->access_key, in->secret_key,
                       secret);
    mem_wipe(secret, sizeof(secret));
    len += snprintf(text + len, FILE_BYTES_MAX - (size_t)len, "crc32c=%08x\n", crc32c(text, (size_t)len));
    return (size_t)len;
}

enum errc credentials_write(struct env *env, const char *dir, const struct credentials *in, struct error *e)
{
    char *path = mem_format("%s/" FILE_NAME, dir);
    char *temporary = mem_format("%s/" FILE_NAME ".new", dir);
    char text[FILE_BYTES_MAX];
    struct iovec part = { text, credentials_print(in, text) };
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, temporary, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, e);
    if (rc == ERRC_OK) {
        rc = env->vt->pwritev(env, file, &part, 1, 0, e);
        if (rc == ERRC_OK) {
            rc = env->vt->fdatasync(env, file, e);
        }
        env->vt->close(env, file);
    }
    if (rc == ERRC_OK) {
        rc = env->vt->rename(env, temporary, path, e);
    }
    if (rc == ERRC_OK) {
        rc = env->vt->fsync_dir(env, dir, e);
    }
    mem_wipe(text, sizeof(text));
    mem_free(temporary);
    mem_free(path);
    return rc;
}
