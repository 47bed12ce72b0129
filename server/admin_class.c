/*
 * Admin verbs of storage classes: names of x-amz-storage-class with a code of their own, and the code of a bucket.
 *
 * A class gets placement groups first and its name last: what a gateway finds in the list can be written. A crash between leaves
 * groups that nothing uses yet; the same verb again goes on. Changes are made in one job of admin_jobs, by the voter that leads.
 */
#include "common/base/storage_class.h"
#include "common/io/log.h"
#include "gateway/s3/s3_headers.h"
#include "server/admin_api.h"
#include "server/cluster_layout.h"
#include "server/server.h"
#include "server/server_disks.h"
#include "server/server_steps.h"

#include <string.h>

#define LIST_ARENA_BYTES 8192
#define CODE_TEXT_BYTES 8
#define STANDARD "STANDARD"

static void code_text(uint8_t k, uint8_t m, char text[CODE_TEXT_BYTES])
{
    (void)snprintf(text, CODE_TEXT_BYTES, "%u+%u", k, m); /* two digits each at most */
}

static const char *body_text(const struct admin_query *query, const char *name)
{
    const char *text = json_string_value(json_object_get(query->body, name));
    return text != NULL ? text : "";
}

static enum errc list_get(struct server *server, struct storage_classes *ret, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(STORAGE_CLASSES_SETTING) };
    arena_init(&arena, LIST_ARENA_BYTES);
    *ret = (struct storage_classes){ .count = 0 };
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK && op.setting.outcome == META_OK) {
        rc = storage_classes_decode(op.setting.value, ret);
        rc = rc != ERRC_OK ? error_set(e, rc, "the list of storage classes cannot be read: %s", errc_text(rc)) : rc;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc propose(struct server *server, const struct meta_command *command, uint8_t *ret_outcome, struct error *e)
{
    struct meta_op op;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, command, e);
    *ret_outcome = rc == ERRC_OK ? op.result.outcome : META_OK;
    meta_op_release(&op);
    return rc;
}

static unsigned list_put(struct server *server, const struct storage_classes *list, struct error *e)
{
    struct enc value = ENC_INIT;
    uint8_t outcome;
    storage_classes_encode(&value, list);
    const struct meta_command command = { .type = META_CMD_SETTING_PUT,
                                          .setting_put = { slice_str(STORAGE_CLASSES_SETTING), enc_slice(&value) } };
    enum errc rc = propose(server, &command, &outcome, e);
    enc_free(&value);
    if (rc != ERRC_OK) {
        return 503;
    }
    return outcome == META_OK ? 200 : server_fail(e, 409, "the list of storage classes was not taken");
}

static json_t *class_json(const char *name, uint8_t k, uint8_t m)
{
    char code[CODE_TEXT_BYTES];
    code_text(k, m, code);
    return json_pack("{s:s,s:s,s:i,s:i,s:f}", "name", name, "erasure", code, "disks", k + m, "losses", m,
                     "overhead", (double)(k + m) / k);
}

unsigned admin_classes(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct storage_classes list;
    if (list_get(server, &list, e) != ERRC_OK) {
        return 503;
    }
    json_t *classes = json_array();
    (void)json_array_append_new(classes, class_json(STANDARD, server->class_k, server->class_m));
    for (unsigned i = 0; i < list.count; i++) {
        (void)json_array_append_new(classes, class_json(list.classes[i].name, list.classes[i].k, list.classes[i].m));
    }
    *ret_json = json_pack("{s:o}", "classes", classes);
    return 200;
}

/* Names of S3 that mean something already. */
static unsigned name_check(const char *name, struct error *e)
{
    if (!storage_class_name_valid(slice_str(name))) {
        return server_fail(e, 400, "a class is called by 1 to 32 of A-Z, 0-9, '_' and '-'");
    }
    if (strcmp(name, STANDARD) == 0) {
        return server_fail(e, 400, "STANDARD is each bucket's own code: see 'cairn bucket class'");
    }
    if (s3_storage_class_archive(slice_str(name))) {
        return server_fail(e, 400, "it is an archive class of S3, from which objects are restored first: that is not offered");
    }
    return 200;
}

static unsigned class_set(const struct admin_query *query, const struct meta_cluster_reply *map, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *name = body_text(query, "name");
    struct storage_classes list;
    struct layout_class class;
    unsigned status = name_check(name, e);
    if (status != 200) {
        return status;
    }
    if (storage_class_code_parse(body_text(query, "erasure"), &class.k, &class.m, e) != ERRC_OK) {
        return 400;
    }
    if (class.m == 0) {
        return server_fail(e, 400, "a class has at least one parity: it must bear the loss of a disk");
    }
    if (list_get(server, &list, e) != ERRC_OK) {
        return 503;
    }
    if (storage_classes_set(&list, slice_str(name), class.k, class.m) != ERRC_OK) {
        return server_fail(e, 409, "there are 16 storage classes already: remove one");
    }
    enum errc rc = server->cluster != NULL ? cluster_layout_class(server, map, class, e)
                                           : server_groups_for(server, map, (unsigned)class.k + class.m, e);
    if (rc != ERRC_OK) {
        return rc == ERRC_UNAVAILABLE || rc == ERRC_LIMIT || rc == ERRC_CONFLICT ? 409 : 503;
    }
    if (server_map_await(server, e) != ERRC_OK) { /* gateways see in the list that they need a new one */
        return 503;
    }
    status = list_put(server, &list, e);
    if (status == 200) {
        LOG_INFO(log_event("class_set"), log_text("name", name), log_u64("k", class.k), log_u64("m", class.m));
        *ret_json = class_json(name, class.k, class.m);
    }
    return status;
}

unsigned admin_class_set(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return admin_map_run(query, class_set, ret_json, e);
}

unsigned admin_class_remove(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *name = body_text(query, "name");
    struct storage_classes list;
    if (list_get(server, &list, e) != ERRC_OK) {
        return 503;
    }
    if (!storage_classes_remove(&list, slice_str(name))) {
        return server_fail(e, 404, "there is no such storage class: see 'cairn class list'");
    }
    unsigned status = list_put(server, &list, e);
    if (status == 200) {
        LOG_INFO(log_event("class_removed"), log_text("name", name));
        *ret_json = json_pack("{s:s}", "name", name);
    }
    return status;
}

unsigned admin_bucket_class(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *bucket = body_text(query, "bucket");
    const char *name = body_text(query, "class");
    struct storage_classes list;
    uint8_t outcome;
    if (list_get(server, &list, e) != ERRC_OK) {
        return 503;
    }
    const struct storage_class *class = storage_classes_find(&list, slice_str(name));
    if (class == NULL && strcmp(name, STANDARD) != 0) {
        return server_fail(e, 404, "there is no such storage class: see 'cairn class list'");
    }
    struct meta_command command = { .type = META_CMD_BUCKET_CLASS,
                                    .bucket_class = { slice_str(bucket), server->class_k, server->class_m } };
    if (class != NULL) {
        command.bucket_class.class_k = class->k;
        command.bucket_class.class_m = class->m;
    }
    if (propose(server, &command, &outcome, e) != ERRC_OK) {
        return 503;
    }
    if (outcome != META_OK) {
        return server_fail(e, outcome == META_NO_BUCKET ? 404 : 409, outcome == META_NO_BUCKET ? "no such bucket" : "not taken");
    }
    char code[CODE_TEXT_BYTES];
    code_text(command.bucket_class.class_k, command.bucket_class.class_m, code);
    LOG_INFO(log_event("bucket_class_set"), log_text("bucket", bucket), log_text("class", name), log_text("erasure", code));
    *ret_json = json_pack("{s:s,s:s,s:s}", "bucket", bucket, "class", name, "erasure", code);
    return 200;
}
