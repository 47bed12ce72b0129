/* Admin verbs of the metadata quorum: who is in it, promote a stand-by, remove a member. */
#include "common/base/mem.h"
#include "metadata/voter_member.h"
#include "server/admin_api.h"
#include "server/cluster.h"

#include <string.h>
#include <time.h>

#define MAP_ARENA_BYTES (4u << 20)
#define ID_HEX_LEN (2 * ID_BYTES)
#define ELECTION_NS UINT64_C(5000000000)
#define PAUSE_NS 200000000

static json_t *member_json(struct server *server, const struct voter_member_status *member, uint64_t last)
{
    json_t *json = json_object();
    char self[ID_HEX_BYTES];
    id_hex(server->node_id.bytes, self);
    const char *node = member->node[0] != '\0' ? member->node : member->self ? self : "";
    (void)json_object_set_new(json, "node", json_string(node));
    (void)json_object_set_new(json, "role", json_string(member->votes ? "voter" : "stand-by"));
    (void)json_object_set_new(json, "leads", json_boolean(member->leads));
    /* only the leader knows how far the others are */
    (void)json_object_set_new(json, "entries_behind", member->match_index > 0 && last >= member->match_index
                                                          ? json_integer((json_int_t)(last - member->match_index))
                                                          : json_null());
    return json;
}

/* Names and addresses, from the map. */
static void names_add(json_t *members, const struct meta_cluster_reply *map)
{
    size_t index;
    json_t *member;
    json_array_foreach(members, index, member) {
        const char *text = json_string_value(json_object_get(member, "node"));
        struct node_id id;
        const struct meta_node *node = id_from_hex(text, strlen(text), id.bytes) ? meta_cluster_node(map, id) : NULL;
        (void)json_object_set_new(member, "name", node != NULL ? json_stringn((const char *)node->name.data, node->name.len)
                                                               : json_string(""));
        (void)json_object_set_new(member, "address",
                                  node != NULL ? json_stringn((const char *)node->address.data, node->address.len)
                                               : json_string(""));
    }
}

static enum errc map_ask(struct server *server, struct arena *arena, struct meta_op *op, struct error *e)
{
    const struct meta_query ask = { .type = META_QRY_CLUSTER };
    arena_init(arena, MAP_ARENA_BYTES);
    return wait_query(&server->meta, server->completions, arena, op, &ask, e);
}

unsigned admin_metadata(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct arena arena;
    struct meta_op op;
    if (server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: its metadata has one voter");
    }
    struct voter_status *status = mem_zalloc(sizeof(*status));
    voter_status(server->voter, status);
    json_t *members = json_array();
    for (unsigned i = 0; i < status->member_count; i++) {
        (void)json_array_append_new(members, member_json(server, &status->members[i], status->applied_index));
    }
    struct error ignored = ERROR_INIT; /* without a leader there are no names, and the list is wanted all the more */
    if (map_ask(server, &arena, &op, &ignored) == ERRC_OK) {
        names_add(members, &op.cluster);
    }
    meta_op_release(&op);
    arena_done(&arena);
    *ret_json = json_pack("{s:b,s:I,s:I,s:I,s:o}", "leads", status->leading ? 1 : 0, "term", (json_int_t)status->term,
                          "commit_index", (json_int_t)status->commit_index, "applied_index",
                          (json_int_t)status->applied_index, "members", members);
    mem_free(status);
    return 200;
}

static bool node_is(const struct meta_node *node, const char *text)
{
    char id[ID_HEX_BYTES];
    size_t len = strlen(text);
    id_hex(node->id.bytes, id);
    return slice_equal_str(node->name, text) || (len >= 8 && len <= ID_HEX_LEN && strncmp(id, text, len) == 0);
}

/* The one metadata process of that name or (beginning of an) id. NOT_FOUND, CONFLICT: none, or several. */
static enum errc node_find(struct server *server, const char *text, struct node_id *ret_node, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    unsigned found = 0;
    enum errc rc = map_ask(server, &arena, &op, e);
    for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.node_count; i++) {
        const struct meta_node *node = &op.cluster.nodes[i];
        if (node->role == ROLE_METADATA && node->state != META_NODE_REMOVED_FOR_EVER && node_is(node, text)) {
            found++;
            *ret_node = node->id;
        }
    }
    meta_op_release(&op);
    arena_done(&arena);
    if (rc == ERRC_OK && found != 1) {
        rc = error_set(e, found == 0 ? ERRC_NOT_FOUND : ERRC_CONFLICT,
                       found == 0 ? "no metadata process is called '%s': see 'cairn metadata list'"
                                  : "several metadata processes are called '%s': name its id", text);
    }
    return rc;
}

static uint64_t raft_id_of(struct server *server, struct node_id node)
{
    struct voter_status *status = mem_zalloc(sizeof(*status));
    char hex[ID_HEX_BYTES];
    uint64_t id = cluster_raft_id(node);
    id_hex(node.bytes, hex);
    voter_status(server->voter, status);
    for (unsigned i = 0; i < status->member_count; i++) {
        bool own = status->members[i].self && node_id_equal(node, server->node_id);
        if (own || strcmp(status->members[i].node, hex) == 0) {
            id = status->members[i].id;
        }
    }
    mem_free(status);
    return id;
}

/* While an election is under way, or a leader that is to go hands over, it is tried again. */
static enum errc member_change(struct server *server, const struct member_request *request, struct error *e)
{
    const struct timespec pause = { 0, PAUSE_NS };
    uint64_t until_ns = env_now_ns(server->env) + ELECTION_NS;
    enum errc rc = cluster_member_change(server, request, e);
    while (rc == ERRC_UNAVAILABLE && env_now_ns(server->env) < until_ns) {
        (void)nanosleep(&pause, NULL);
        rc = cluster_member_change(server, request, e);
    }
    return rc;
}

/* It votes no more: neither may it come back, nor is it looked for. */
static enum errc node_forget(struct server *server, struct node_id id, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    struct meta_op put;
    enum errc rc = map_ask(server, &arena, &op, e);
    const struct meta_node *node = rc == ERRC_OK ? meta_cluster_node(&op.cluster, id) : NULL;
    if (node != NULL) {
        struct meta_command command = { .type = META_CMD_NODE_PUT, .node_put.node = *node };
        command.node_put.node.state = META_NODE_REMOVED_FOR_EVER;
        rc = wait_propose(&server->meta, server->completions, &put, &command, e);
        meta_op_release(&put);
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static unsigned change(const struct admin_query *query, enum member_change what, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *name = json_string_value(json_object_get(query->body, "node"));
    struct node_id node;
    if (server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: its metadata has one voter");
    }
    if (name == NULL) {
        return server_fail(e, 400, "name the metadata process");
    }
    enum errc rc = node_find(server, name, &node, e);
    if (rc == ERRC_OK) {
        struct member_request request = { .change = (uint8_t)what, .id = raft_id_of(server, node) };
        id_hex(node.bytes, request.node);
        rc = member_change(server, &request, e);
    }
    if (rc == ERRC_OK && what == MEMBER_REMOVE) {
        rc = node_forget(server, node, e);
    }
    if (rc != ERRC_OK) {
        return rc == ERRC_NOT_FOUND ? 404 : rc == ERRC_CONFLICT || rc == ERRC_LIMIT ? 409 : 503;
    }
    char hex[ID_HEX_BYTES];
    id_hex(node.bytes, hex);
    *ret_json = json_pack("{s:s,s:s}", "node", hex, "role", what == MEMBER_PROMOTE ? "voter" : "removed");
    return 200;
}

unsigned admin_metadata_promote(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return change(query, MEMBER_PROMOTE, ret_json, e);
}

unsigned admin_metadata_remove(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    return change(query, MEMBER_REMOVE, ret_json, e);
}
