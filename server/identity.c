#include "server/identity.h"

#include "common/base/env_replace.h"
#include "common/base/mem.h"
#include "server/folder_make.h"
#include "server/lock_file.h"
#include "server/text_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FILE_NAME "identity"
#define FILE_FORMAT 1

/* "ID@ADDR:PORT" */
static bool voter_parse(const char *text, struct identity_voter *ret)
{
    const char *at = strchr(text, '@');
    if (at == NULL || at - text != 2 * ID_BYTES || !id_from_hex(text, 2 * ID_BYTES, ret->node.bytes) ||
        strlen(at + 1) >= sizeof(ret->address) || at[1] == '\0') {
        return false;
    }
    memcpy(ret->address, at + 1, strlen(at + 1) + 1);
    return true;
}

static bool identity_parse(const char *text, struct identity *ret)
{
    char voter[2 * ID_BYTES + CLUSTER_ADDRESS_BYTES_MAX + 4];
    uint64_t role = 0;
    *ret = (struct identity){ .role = 0 };
    if (!text_file_hex(text, "cluster", ret->cluster.bytes, ID_BYTES) ||
        !text_file_hex(text, "node", ret->node.bytes, ID_BYTES) || !text_file_number(text, "role", &role) ||
        role > UINT8_MAX) {
        return false;
    }
    ret->role = (uint8_t)role;
    (void)text_file_copy(text, "name", 0, ret->name, sizeof(ret->name)); /* absent: empty */
    (void)text_file_copy(text, "zone", 0, ret->zone, sizeof(ret->zone));
    (void)text_file_copy(text, "rack", 0, ret->rack, sizeof(ret->rack));
    (void)text_file_copy(text, "address", 0, ret->address, sizeof(ret->address));
    while (ret->voter_count < CLUSTER_VOTERS_MAX && text_file_copy(text, "voter", ret->voter_count, voter, sizeof(voter))) {
        if (!voter_parse(voter, &ret->voters[ret->voter_count++])) {
            return false;
        }
    }
    return true;
}

enum errc identity_read(struct env *env, const char *data, struct identity *ret, struct error *e)
{
    char *path = mem_format("%s/" FILE_NAME, data);
    char text[TEXT_FILE_BYTES_MAX + 1];
    enum errc rc = text_file_read(env, path, FILE_FORMAT, text, e);
    if (rc == ERRC_OK && !identity_parse(text, ret)) {
        rc = error_set(e, ERRC_CORRUPT, "'%s' lacks a line", path);
    }
    mem_free(path);
    return rc;
}

__attribute__((format(printf, 3, 4))) static void line_add(char *text, size_t *len, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(text + *len, TEXT_FILE_BYTES_MAX - *len, format, arguments);
    va_end(arguments);
    *len += (size_t)more;
}

enum errc identity_write(struct env *env, const char *data, const struct identity *in, struct error *e)
{
    char text[TEXT_FILE_BYTES_MAX]; /* 16 voters of 100 bytes fit */
    char cluster[ID_HEX_BYTES];
    char node[ID_HEX_BYTES];
    size_t len = 0;
    id_hex(in->cluster.bytes, cluster);
    id_hex(in->node.bytes, node);
    line_add(text, &len, "# Who this process of a Cairn cluster is.\nformat=%d\ncluster=%s\nnode=%s\nrole=%u\n",
             FILE_FORMAT, cluster, node, in->role);
    line_add(text, &len, "name=%s\nzone=%s\nrack=%s\naddress=%s\n", in->name, in->zone, in->rack, in->address);
    for (unsigned i = 0; i < in->voter_count; i++) {
        id_hex(in->voters[i].node.bytes, node);
        line_add(text, &len, "voter=%s@%s\n", node, in->voters[i].address);
    }
    return env_file_replace(env, data, FILE_NAME, slice_of(text, text_file_seal(text, len)), e);
}

enum errc identity_lock(struct env *env, const char *data, struct env_file **ret_lock, struct error *e)
{
    struct env_stat stat;
    struct error why = ERROR_INIT;
    enum errc rc = folder_make(env, data, &why);
    if (rc != ERRC_OK && rc != ERRC_EXISTS) {
        return error_set(e, rc, "%s", why.text);
    }
    rc = env->vt->stat_path(env, data, &stat, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!stat.is_dir) {
        return error_set(e, ERRC_INVALID, "'%s' is a file, not a folder", data);
    }
    return lock_file_take(env, data, "another process", ret_lock, e);
}
