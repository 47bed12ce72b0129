/* What `cairn support bundle` asks a process for: its configuration without secrets, recent log lines, the cluster map. */
#include "common/base/mem.h"
#include "common/io/log_recent.h"
#include "server/admin_api.h"
#include "server/cluster.h"
#include "server/json_set.h"
#include "server/server.h"

#include <stdio.h>

#define MAP_ARENA_BYTES (4u << 20)

static void text_set(json_t *json, const char *name, const char *text)
{
    (void)json_object_set_new(json, name, text != NULL ? json_string(text) : json_null());
}

static void address_set(json_t *json, const char *name, const struct server_address *address)
{
    char text[SERVER_ADDRESS_TEXT_BYTES];
    server_address_text(address, text);
    text_set(json, name, address->host[0] != '\0' ? text : NULL);
}

static void texts_set(json_t *json, const char *name, const char *const *texts, unsigned count)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_string(texts[i]));
    }
    (void)json_object_set_new(json, name, list);
}

/* Fields are named one by one: what is added to the options later is not shown before somebody has thought of it. */
unsigned admin_config(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const struct server *server = query->server;
    const struct server_options *options = &server->options;
    json_t *json = json_object();
    json_t *join = json_array();
    char code[16];
    (void)e;
    (void)snprintf(code, sizeof(code), "%u+%u", server->class_k, server->class_m);
    text_set(json, "version", CAIRN_VERSION);
    text_set(json, "role", server_command_name(options->command));
    json_id_set(json, "cluster_id", server->dirs.cluster.bytes);
    json_id_set(json, "node_id", server->node_id.bytes);
    text_set(json, "data", options->data);
    address_set(json, "listen", &options->listen);
    address_set(json, "advertise", &options->advertise);
    address_set(json, "s3_listen", &options->s3_listen);
    address_set(json, "admin_listen", &options->admin_listen);
    for (unsigned i = 0; i < options->join_count; i++) {
        char text[SERVER_ADDRESS_TEXT_BYTES];
        server_address_text(&options->join[i], text);
        (void)json_array_append_new(join, json_string(text));
    }
    (void)json_object_set_new(json, "join", join);
    text_set(json, "zone", options->zone);
    text_set(json, "rack", options->rack);
    text_set(json, "name", options->name);
    text_set(json, "erasure", code);
    text_set(json, "region", options->region);
    (void)json_object_set_new(json, "any_region", json_boolean(options->any_region));
    texts_set(json, "domains", options->domains, options->domain_count);
    text_set(json, "tls_cert", options->tls_cert);
    (void)json_object_set_new(json, "tls", json_boolean(server->tls != NULL));
    texts_set(json, "start_without", options->start_without, options->start_without_count);
    (void)json_object_set_new(json, "threads", json_integer(options->threads));
    (void)json_object_set_new(json, "metrics_auth", json_boolean(options->metrics_auth));
    texts_set(json, "dirs", options->dirs, options->dir_count);
    text_set(json, "config", options->config);
    *ret_json = json;
    return 200;
}

unsigned admin_log(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    (void)query;
    (void)e;
    char *text = mem_alloc(LOG_RECENT_BYTES + 1);
    (void)log_recent_copy(text);
    *ret_json = json_object();
    text_set(*ret_json, "log", text); /* the log escapes what is not printable ASCII */
    mem_free(text);
    return 200;
}

static json_t *slice_json(struct slice text)
{
    json_t *json = text.len > 0 ? json_stringn((const char *)text.data, text.len) : json_string("");
    return json != NULL ? json : json_string("(not UTF-8)");
}

static json_t *disk_json(const struct meta_disk *disk)
{
    json_t *json = json_object();
    json_id_set(json, "id", disk->id.bytes);
    json_id_set(json, "node", disk->node.bytes);
    (void)json_object_set_new(json, "removed", json_boolean(disk->state == META_DISK_REMOVED));
    (void)json_object_set_new(json, "bytes", json_integer((json_int_t)disk->bytes));
    (void)json_object_set_new(json, "zone", slice_json(disk->zone));
    (void)json_object_set_new(json, "rack", slice_json(disk->rack));
    (void)json_object_set_new(json, "path", slice_json(disk->path));
    return json;
}

static json_t *group_json(const struct meta_group *group)
{
    json_t *json = json_object();
    json_t *disks = json_array();
    char class[16];
    (void)snprintf(class, sizeof(class), "%u+%u", group->class_k, group->class_m);
    (void)json_object_set_new(json, "id", json_integer(group->id));
    (void)json_object_set_new(json, "epoch", json_integer(group->epoch));
    (void)json_object_set_new(json, "class", json_string(class));
    (void)json_object_set_new(json, "writable", json_boolean(group->writable));
    for (unsigned i = 0; i < group->disk_count; i++) {
        char id[ID_HEX_BYTES];
        id_hex(group->disks[i].bytes, id);
        (void)json_array_append_new(disks, json_string(id));
    }
    (void)json_object_set_new(json, "disks", disks);
    return json;
}

static json_t *voters_json(const struct server *server)
{
    struct voter_status *status = mem_zalloc(sizeof(*status));
    json_t *members = json_array();
    voter_status(server->voter, status);
    for (unsigned i = 0; i < status->member_count; i++) {
        const struct voter_member_status *member = &status->members[i];
        (void)json_array_append_new(members, json_pack("{s:s,s:b,s:b,s:b,s:I}", "node", member->node, "votes", member->votes,
                                                       "leads", member->leads, "self", member->self, "match_index",
                                                       (json_int_t)member->match_index));
    }
    json_t *json = json_pack("{s:b,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "leading", status->leading, "serving", status->serving,
                             "term", (json_int_t)status->term, "commit_index", (json_int_t)status->commit_index,
                             "applied_index", (json_int_t)status->applied_index, "generation", (json_int_t)status->generation,
                             "log_bytes", (json_int_t)status->log_bytes, "checkpoint_index",
                             (json_int_t)status->checkpoint_index, "members", members);
    mem_free(status);
    return json;
}

unsigned admin_topology(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct arena arena;
    struct meta_op op;
    const struct meta_query ask = { .type = META_QRY_CLUSTER };
    json_t *json = json_object();
    json_t *disks = json_array();
    json_t *groups = json_array();
    *ret_json = json;
    arena_init(&arena, MAP_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &ask, e);
    for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.disk_count; i++) {
        (void)json_array_append_new(disks, disk_json(&op.cluster.disks[i]));
    }
    for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.group_count; i++) {
        (void)json_array_append_new(groups, group_json(&op.cluster.groups[i]));
    }
    (void)json_object_set_new(json, "revision", json_integer(rc == ERRC_OK ? (json_int_t)op.cluster.revision : 0));
    (void)json_object_set_new(json, "voter", voters_json(server));
    (void)json_object_set_new(json, "disks", disks);
    (void)json_object_set_new(json, "groups", groups);
    meta_op_release(&op);
    arena_done(&arena);
    return rc == ERRC_OK ? 200 : 503;
}
