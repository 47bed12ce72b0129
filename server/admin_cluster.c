/* Admin verbs of a cluster: its processes, tokens to join it. */
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "server/admin_api.h"
#include "server/cluster.h"

#include <stdio.h>
#include <string.h>

#define NODES_ARENA_BYTES (4u << 20)
#define TOKEN_MINUTES_MAX (7 * 24 * 60)
#define TOKEN_SECRET_BYTES 16

static json_t *text_json(struct slice text)
{
    return json_stringn((const char *)text.data, text.len);
}

static json_t *node_json(struct server *server, const struct meta_node *node)
{
    static const char *const states[] = { "unknown", "in", "draining", "maintenance", "removed" };
    char id[ID_HEX_BYTES];
    char version[IDENTITY_TEXT_BYTES];
    uint64_t age_ns = cluster_heard_age(server, node->id, version);
    bool self = node_id_equal(node->id, server->node_id);
    json_t *json = json_object();
    id_hex(node->id.bytes, id);
    (void)json_object_set_new(json, "id", json_string(id));
    (void)json_object_set_new(json, "name", text_json(node->name));
    (void)json_object_set_new(json, "role", json_string(cluster_role_name(node->role)));
    (void)json_object_set_new(json, "state", json_string(states[node->state <= META_NODE_REMOVED_FOR_EVER ? node->state : 0]));
    (void)json_object_set_new(json, "address", text_json(node->address));
    (void)json_object_set_new(json, "zone", text_json(node->zone));
    (void)json_object_set_new(json, "rack", text_json(node->rack));
    (void)json_object_set_new(json, "version", json_string(self ? CAIRN_VERSION : version));
    (void)json_object_set_new(json, "heartbeat_age_seconds",
                              self                   ? json_integer(0)
                              : age_ns == UINT64_MAX ? json_null()
                                                     : json_integer((json_int_t)(age_ns / 1000000000u)));
    return json;
}

unsigned admin_nodes(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    struct arena arena;
    struct meta_op op;
    const struct meta_query ask = { .type = META_QRY_CLUSTER };
    if (server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: it is one process");
    }
    json_t *json = json_object();
    json_t *nodes = json_array();
    (void)json_object_set_new(json, "nodes", nodes);
    *ret_json = json;
    arena_init(&arena, NODES_ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &ask, e);
    for (uint32_t i = 0; rc == ERRC_OK && i < op.cluster.node_count; i++) {
        (void)json_array_append_new(nodes, node_json(server, &op.cluster.nodes[i]));
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc == ERRC_OK ? 200 : 503;
}

/* cairn-token-1.ROLE.ID.SECRET.HASH-OF-THE-CA; only a hash of the secret is kept. */
static enum errc token_text(struct server *server, const struct meta_token *token, const uint8_t secret[TOKEN_SECRET_BYTES],
                            char **ret_text, struct error *e)
{
    uint8_t ca_hash[SHA256_BYTES];
    char id[2 * sizeof(token->id) + 1];
    char secret_hex[2 * TOKEN_SECRET_BYTES + 1];
    char ca_hex[2 * SHA256_BYTES + 1];
    enum errc rc = certificate_hash(server->cluster->ca_pem, ca_hash, e);
    if (rc == ERRC_OK) {
        hex_encode(token->id, sizeof(token->id), id);
        hex_encode(secret, TOKEN_SECRET_BYTES, secret_hex);
        hex_encode(ca_hash, sizeof(ca_hash), ca_hex);
        *ret_text = mem_format("cairn-token-1.%s.%s.%s.%s", cluster_role_name(token->role), id, secret_hex, ca_hex);
    }
    mem_wipe(secret_hex, sizeof(secret_hex));
    return rc;
}

unsigned admin_token_create(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    const char *name = json_string_value(json_object_get(query->body, "role"));
    json_int_t minutes = json_integer_value(json_object_get(query->body, "expires_minutes"));
    enum cluster_role role = ROLE_NONE;
    uint8_t secret[TOKEN_SECRET_BYTES];
    char *text = NULL;
    struct meta_op op;
    struct meta_command command = { .type = META_CMD_TOKEN_PUT };
    if (server->cluster == NULL) {
        return server_fail(e, 409, "this server is no cluster: nothing can join it");
    }
    if (name == NULL || !cluster_role_from_name(slice_str(name), &role) || role == ROLE_ADMIN) {
        return server_fail(e, 400, "the role is storage-node, gateway or metadata");
    }
    if (minutes < 1 || minutes > TOKEN_MINUTES_MAX) {
        return server_fail(e, 400, "a token expires after 1 to 10080 minutes");
    }
    struct meta_token *token = &command.token_put.token;
    env_random(server->env, token->id, sizeof(token->id));
    env_random(server->env, secret, sizeof(secret));
    sha256_once(secret, sizeof(secret), token->secret_hash);
    token->role = (uint8_t)role;
    token->expires_ms = env_wall_ms(server->env) + (uint64_t)minutes * 60000;
    enum errc rc = token_text(server, token, secret, &text, e);
    mem_wipe(secret, sizeof(secret));
    if (rc != ERRC_OK) {
        return 500;
    }
    rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome == META_OK) {
        *ret_json = json_pack("{s:s,s:s,s:I}", "token", text, "role", name, "expires_minutes", minutes);
    }
    bool put = rc == ERRC_OK && op.result.outcome == META_OK;
    meta_op_release(&op);
    mem_wipe(text, strlen(text));
    mem_free(text);
    return put ? 200 : rc == ERRC_OK ? server_fail(e, 500, "the token was not taken") : 503;
}
