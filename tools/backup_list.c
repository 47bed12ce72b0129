#include "tools/backup_list.h"

#include "common/base/hex.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT 1
#define TEXT_BYTES_MAX (64u << 20)
#define BLOCK_BYTES (64u << 10)
#define STAMP_BYTES 16

void backup_free(struct backup *backup)
{
    mem_free(backup->files);
    *backup = (struct backup){ .count = 0 };
}

struct backup_file *backup_add(struct backup *backup)
{
    if ((backup->count & (backup->count - 1)) == 0) { /* full: 0, 1, 2, 4, 8, ... */
        size_t capacity = backup->count > 0 ? 2 * backup->count : 1;
        backup->files = mem_realloc(backup->files, capacity * sizeof(backup->files[0]));
    }
    backup->files[backup->count] = (struct backup_file){ .size = 0 };
    return &backup->files[backup->count++];
}

const struct backup_file *backup_find(const struct backup *backup, const struct backup_file *file)
{
    for (size_t i = 0; i < backup->count; i++) {
        const struct backup_file *known = &backup->files[i];
        if (known->size == file->size && known->crc32c == file->crc32c && strcmp(known->name, file->name) == 0) {
            return known;
        }
    }
    return NULL;
}

uint64_t backup_bytes(const struct backup *backup)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < backup->count; i++) {
        bytes += backup->files[i].size;
    }
    return bytes;
}

/* ---- JSON ---- */

static bool text_take(json_t *json, const char *name, char *target, size_t target_bytes)
{
    const char *text = json_string_value(json_object_get(json, name));
    size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0 || len >= target_bytes) {
        return false;
    }
    memcpy(target, text, len + 1);
    return true;
}

static bool number_take(json_t *json, const char *name, uint64_t *ret)
{
    json_t *number = json_object_get(json, name);
    json_int_t value = json_integer_value(number);
    *ret = (uint64_t)value;
    return json_is_integer(number) && value >= 0;
}

static bool is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

/* Names become names of files: no folder, nothing hidden, no parent. */
static bool name_is_plain(const char *name)
{
    return name[0] != '.' && strchr(name, '/') == NULL;
}

bool backup_files_parse(json_t *files, bool with_sha256, struct backup *backup)
{
    size_t i;
    json_t *json;
    json_array_foreach(files, i, json) {
        struct backup_file *file = backup_add(backup);
        uint64_t crc = 0;
        bool ok = text_take(json, "name", file->name, sizeof(file->name)) && name_is_plain(file->name) &&
                  number_take(json, "size", &file->size) && number_take(json, "crc32c", &crc) && crc <= UINT32_MAX;
        file->crc32c = (uint32_t)crc;
        ok = ok && (!with_sha256 || (text_take(json, "sha256", file->sha256, sizeof(file->sha256)) &&
                                     is_hex(file->sha256, BACKUP_HEX_BYTES - 1)));
        if (!ok) {
            return false;
        }
    }
    return backup->count > 0;
}

static json_t *files_json(const struct backup *backup)
{
    json_t *files = json_array();
    for (size_t i = 0; i < backup->count; i++) {
        const struct backup_file *file = &backup->files[i];
        (void)json_array_append_new(files, json_pack("{s:s,s:I,s:I,s:s}", "name", file->name, "size", (json_int_t)file->size,
                                                     "crc32c", (json_int_t)file->crc32c, "sha256", file->sha256));
    }
    return files;
}

static bool backup_parse(const char *text, size_t len, struct backup *ret)
{
    json_t *json = json_loadb(text, len, 0, NULL);
    uint64_t format = 0;
    *ret = (struct backup){ .count = 0 };
    bool ok = number_take(json, "format", &format) && format == FORMAT &&
              text_take(json, "cluster", ret->cluster, sizeof(ret->cluster)) &&
              text_take(json, "made", ret->made, sizeof(ret->made)) && number_take(json, "index", &ret->index) &&
              number_take(json, "term", &ret->term) && backup_files_parse(json_object_get(json, "files"), true, ret);
    json_decref(json);
    if (!ok) {
        backup_free(ret);
    }
    return ok;
}

/* ---- in the bucket ---- */

char *backup_file_key(const char *cluster, const char *sha256)
{
    return mem_format("%s/files/%s", cluster, sha256);
}

static char *list_key(const char *cluster, const char *name)
{
    return mem_format("%s/backups/%s", cluster, name);
}

static enum errc text_put(const struct s3_client *client, const char *cluster, const char *name, const char *text,
                          const uint8_t sha256[SHA256_BYTES], struct error *e)
{
    size_t len = strlen(text);
    char *key = list_key(cluster, name);
    FILE *file = tmpfile();
    enum errc rc = file != NULL && fwrite(text, 1, len, file) == len && fflush(file) == 0
                       ? s3_client_put(client, key, file, len, sha256, e)
                       : error_set(e, ERRC_IO, "a temporary file cannot be written");
    if (file != NULL) {
        (void)fclose(file); /* it is gone with that */
    }
    mem_free(key);
    return rc;
}

enum errc backup_write(const struct s3_client *client, const struct backup *backup, char **ret_name, struct error *e)
{
    uint8_t sha256[SHA256_BYTES];
    char hex[BACKUP_HEX_BYTES];
    json_t *json = json_pack("{s:i,s:s,s:s,s:s,s:I,s:I,s:o}", "format", FORMAT, "cluster", backup->cluster, "made", backup->made,
                             "version", CAIRN_VERSION, "index", (json_int_t)backup->index, "term", (json_int_t)backup->term,
                             "files", files_json(backup));
    char *text = json_dumps(json, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    json_decref(json);
    *ret_name = NULL;
    if (text == NULL) {
        return error_set(e, ERRC_INTERNAL, "the list of the backup's files cannot be made");
    }
    sha256_once(text, strlen(text), sha256);
    hex_encode(sha256, sizeof(sha256), hex);
    *ret_name = mem_format("%s-%s.json", backup->made, hex);
    enum errc rc = text_put(client, backup->cluster, *ret_name, text, sha256, e);
    free(text);
    return rc;
}

struct names {
    const char *cluster;
    void (*visit)(void *data, const char *name);
    void *data;
};

static bool name_is_backup(const char *name)
{
    size_t len = strlen(name);
    return len == STAMP_BYTES + 1 + BACKUP_HEX_BYTES - 1 + strlen(".json") && name[STAMP_BYTES] == '-' &&
           strcmp(name + len - strlen(".json"), ".json") == 0;
}

static void on_key(void *data, const char *key)
{
    struct names *names = data;
    const char *name = strrchr(key, '/');
    if (name != NULL && name_is_backup(name + 1)) {
        names->visit(names->data, name + 1);
    }
}

enum errc backup_names(const struct s3_client *client, const char *cluster, void (*visit)(void *data, const char *name), void *data,
                       struct error *e)
{
    struct names names = { cluster, visit, data };
    char *under = list_key(cluster, "");
    enum errc rc = s3_client_list(client, under, on_key, &names, e);
    mem_free(under);
    return rc;
}

static void newest_keep(void *data, const char *name)
{
    char **newest = data;
    mem_free(*newest);
    *newest = mem_strdup(name);
}

enum errc backup_newest(const struct s3_client *client, const char *cluster, char **ret_name, struct error *e)
{
    *ret_name = NULL;
    enum errc rc = backup_names(client, cluster, newest_keep, ret_name, e);
    return rc == ERRC_OK && *ret_name == NULL
               ? error_set(e, ERRC_NOT_FOUND, "there is no backup of cluster %s in s3://%s/%s", cluster, client->bucket, client->prefix)
               : rc;
}

static enum errc text_read(FILE *file, struct enc *text, struct error *e)
{
    size_t len = 1;
    rewind(file);
    while (len > 0 && text->len <= TEXT_BYTES_MAX) {
        size_t before = text->len;
        len = fread(enc_reserve(text, BLOCK_BYTES), 1, BLOCK_BYTES, file);
        text->len = before + len;
    }
    return ferror(file) == 0 && text->len <= TEXT_BYTES_MAX ? ERRC_OK : error_set(e, ERRC_IO, "a temporary file cannot be read");
}

enum errc backup_read(const struct s3_client *client, const char *cluster, const char *name, struct backup *ret, struct error *e)
{
    uint8_t sha256[SHA256_BYTES];
    char hex[BACKUP_HEX_BYTES];
    struct enc text = ENC_INIT;
    char *key = list_key(cluster, name);
    FILE *file = tmpfile();
    enum errc rc = file == NULL ? error_set(e, ERRC_IO, "a temporary file cannot be made") : s3_client_get(client, key, file, e);
    rc = rc == ERRC_OK ? text_read(file, &text, e) : rc;
    if (file != NULL) {
        (void)fclose(file); /* it is gone with that */
    }
    if (rc == ERRC_OK) {
        sha256_once(text.data, text.len, sha256);
        hex_encode(sha256, sizeof(sha256), hex);
        bool whole = name_is_backup(name) && strncmp(name + STAMP_BYTES + 1, hex, strlen(hex)) == 0;
        if (!whole || !backup_parse((const char *)text.data, text.len, ret)) {
            rc = error_set(e, ERRC_CORRUPT, "backup '%s' is damaged: name another one", name);
        } else if (strcmp(ret->cluster, cluster) != 0) {
            backup_free(ret);
            rc = error_set(e, ERRC_CORRUPT, "backup '%s' is of another cluster", name);
        }
    }
    enc_free(&text);
    mem_free(key);
    return rc;
}
