#include "server/text_file.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRC_NAME "crc32c"
#define CRC_LINE_BYTES 16 /* "crc32c=xxxxxxxx\n" */

const char *text_file_value(const char *text, const char *name, unsigned nth, size_t *ret_len)
{
    size_t name_len = strlen(name);
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (strncmp(line, name, name_len) == 0 && line[name_len] == '=' && nth-- == 0) {
            const char *value = line + name_len + 1;
            *ret_len = end != NULL ? (size_t)(end - value) : strlen(value);
            return value;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}

bool text_file_copy(const char *text, const char *name, unsigned nth, char *target, size_t capacity)
{
    size_t len = 0;
    const char *value = text_file_value(text, name, nth, &len);
    if (value == NULL || len == 0 || len >= capacity) {
        return false;
    }
    memcpy(target, value, len);
    target[len] = '\0';
    return true;
}

bool text_file_hex(const char *text, const char *name, uint8_t *target, size_t len)
{
    size_t value_len = 0;
    const char *value = text_file_value(text, name, 0, &value_len);
    return value != NULL && value_len == 2 * len && hex_decode(value, value_len, target);
}

bool text_file_number(const char *text, const char *name, uint64_t *ret)
{
    char digits[24];
    if (!text_file_copy(text, name, 0, digits, sizeof(digits)) || strspn(digits, "0123456789") != strlen(digits)) {
        return false;
    }
    *ret = strtoull(digits, NULL, 10);
    return true;
}

enum errc text_file_check(const char *text, const char *name, unsigned format, struct error *e)
{
    uint64_t found = 0;
    uint8_t crc_bytes[4];
    const char *crc_line = strstr(text, "\n" CRC_NAME "=");
    if (crc_line == NULL || !text_file_hex(crc_line + 1, CRC_NAME, crc_bytes, sizeof(crc_bytes)) ||
        load_be32(crc_bytes) != crc32c(text, (size_t)(crc_line + 1 - text)) || !text_file_number(text, "format", &found)) {
        return error_set(e, ERRC_CORRUPT, "'%s' is damaged", name);
    }
    if (found > format) {
        return error_set(e, ERRC_FORMAT, "'%s' has format %llu, this program knows %u", name, (unsigned long long)found,
                         format);
    }
    return ERRC_OK;
}

enum errc text_file_read(struct env *env, const char *path, unsigned format, char *ret_text, struct error *e)
{
    size_t len = 0;
    struct env_file *file = NULL;
    enum errc rc = env->vt->open(env, path, ENV_OPEN_READ, &file, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = env->vt->pread(env, file, ret_text, TEXT_FILE_BYTES_MAX, 0, &len, e);
    env->vt->close(env, file);
    if (rc != ERRC_OK) {
        return rc;
    }
    ret_text[len] = '\0';
    return text_file_check(ret_text, path, format, e);
}

size_t text_file_seal(char *text, size_t len)
{
    ASSERT(len + CRC_LINE_BYTES < TEXT_FILE_BYTES_MAX);
    int more = snprintf(text + len, TEXT_FILE_BYTES_MAX - len, CRC_NAME "=%08x\n", crc32c(text, len));
    return len + (size_t)more;
}
