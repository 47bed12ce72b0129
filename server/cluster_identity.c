/*
 * Who this process is. A join, and what a crash after each step leaves:
 *   1 DATA/node.key          a key; the next attempt uses it again, so the token still fits
 *   2 CLUSTER_JOIN           the voter has the node in its map; asked again with the same key it answers the same
 *   3 certificate, CA, keys  files without identity: nobody yet; written again by the next attempt
 *   4 DATA/identity          joined
 * A node's id is the beginning of its public key's SHA-256: it needs no file of its own, and one key has one id.
 */
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/cluster_renew.h"
#include "server/server_steps.h"

#include <stdio.h>
#include <string.h>

#define TOKEN_PREFIX "cairn-token-1."
#define TOKEN_ID_BYTES 8
#define TOKEN_SECRET_BYTES 16
#define JOIN_TIMEOUT_NS UINT64_C(15000000000)
#define CA_DAYS 3650
#define DAY_S 86400

struct token {
    enum cluster_role role;
    uint8_t id[TOKEN_ID_BYTES];
    uint8_t secret[TOKEN_SECRET_BYTES];
    uint8_t ca_hash[SHA256_BYTES];
};

static uint8_t role_of(enum server_command command)
{
    return command == SERVER_STORAGE_NODE ? ROLE_STORAGE_NODE : command == SERVER_GATEWAY ? ROLE_GATEWAY : ROLE_METADATA;
}

/* The next field up to '.', as hex. */
static bool token_hex(const char **at, uint8_t *target, size_t len)
{
    size_t have = strcspn(*at, ".");
    bool ok = have == 2 * len && hex_decode(*at, have, target);
    *at += have + ((*at)[have] == '.' ? 1 : 0);
    return ok;
}

static enum errc token_parse(const char *text, struct token *ret, struct error *e)
{
    size_t prefix = strlen(TOKEN_PREFIX);
    const char *at = text + prefix;
    if (strncmp(text, TOKEN_PREFIX, prefix) == 0) {
        size_t role_len = strcspn(at, ".");
        bool ok = cluster_role_from_name(slice_of(at, role_len), &ret->role) && at[role_len] == '.';
        at += role_len + (ok ? 1 : 0);
        if (ok && token_hex(&at, ret->id, TOKEN_ID_BYTES) && token_hex(&at, ret->secret, TOKEN_SECRET_BYTES) &&
            token_hex(&at, ret->ca_hash, SHA256_BYTES) && *at == '\0') {
            return ERRC_OK;
        }
    }
    return error_set(e, ERRC_INVALID, "--token is not a token of 'cairn token create'");
}

static enum errc node_id_of(const char *key_pem, struct node_id *ret_node, struct error *e)
{
    static const struct node_id nobody;
    uint8_t hash[SHA256_BYTES];
    char *request = NULL;
    enum errc rc = certificate_request_create(key_pem, nobody, &request, e);
    rc = rc == ERRC_OK ? certificate_request_key_hash(request, hash, e) : rc;
    if (rc == ERRC_OK) {
        memcpy(ret_node->bytes, hash, ID_BYTES);
    }
    mem_free(request);
    return rc;
}

/* The key of an earlier attempt, or a new one, durable before it is used. */
static enum errc key_settle(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    const char *data = server->options.data;
    enum errc rc = certificate_file_read(server->env, data, "node.key", &cluster->key_pem, NULL);
    if (rc == ERRC_NOT_FOUND) {
        rc = certificate_key_create(&cluster->key_pem, e);
        rc = rc == ERRC_OK ? certificate_file_write(server->env, data, "node.key", cluster->key_pem, e) : rc;
    } else if (rc != ERRC_OK) {
        return error_set(e, rc, "'%s/node.key' cannot be read: %s", data, errc_text(rc));
    }
    return rc == ERRC_OK ? node_id_of(cluster->key_pem, &cluster->identity.node, e) : rc;
}

/* Where others reach this process, as this start was told; a gateway is not reached. */
static void address_fill(const struct server_options *options, struct identity *identity)
{
    const struct server_address *address = options->advertise.port != 0 ? &options->advertise : &options->listen;
    if (address->port != 0) {
        char text[SERVER_ADDRESS_TEXT_BYTES];
        server_address_text(address, text);
        (void)snprintf(identity->address, sizeof(identity->address), "%.*s", CLUSTER_ADDRESS_BYTES_MAX, text);
    }
}

static void identity_fill(struct server *server)
{
    struct identity *identity = &server->cluster->identity;
    const struct server_options *options = &server->options;
    char id[ID_HEX_BYTES];
    id_hex(identity->node.bytes, id);
    identity->role = role_of(options->command);
    bool again = identity->name[0] != '\0'; /* it joined before: what is not said anew stays */
    if (!again) {
        (void)snprintf(identity->zone, sizeof(identity->zone), "%s", options->zone);
        (void)snprintf(identity->rack, sizeof(identity->rack), "%s", options->rack);
    }
    if (options->name[0] != '\0') {
        (void)snprintf(identity->name, sizeof(identity->name), "%s", options->name);
    } else if (!again) {
        (void)snprintf(identity->name, sizeof(identity->name), "%s-%.8s", cluster_role_name(identity->role), id);
    }
    address_fill(options, identity);
}

/* ---- joining ---- */

static enum errc text_write(struct server *server, const char *name, struct slice text, struct error *e)
{
    if (text.len == 0) {
        return ERRC_OK;
    }
    char *copy = mem_strndup((const char *)text.data, text.len);
    enum errc rc = certificate_file_write(server->env, server->options.data, name, copy, e);
    mem_wipe(copy, text.len);
    mem_free(copy);
    return rc;
}

/* Steps 3 and 4. */
static enum errc join_write(struct server *server, const struct cluster_join_reply *reply, struct error *e)
{
    struct identity *identity = &server->cluster->identity;
    identity->cluster = reply->cluster;
    identity->voter_count = 0;
    for (uint32_t i = 0; i < reply->voter_count; i++) {
        struct identity_voter *voter = &identity->voters[identity->voter_count++];
        voter->node = reply->voters[i].node;
        (void)snprintf(voter->address, sizeof(voter->address), "%.*s", (int)reply->voters[i].address.len,
                       (const char *)reply->voters[i].address.data);
    }
    enum errc rc = text_write(server, "node.pem", reply->certificate, e);
    rc = rc == ERRC_OK ? text_write(server, "ca.pem", reply->ca, e) : rc;
    rc = rc == ERRC_OK ? text_write(server, "ca.key", reply->ca_key, e) : rc;
    rc = rc == ERRC_OK ? text_write(server, "credentials", reply->credentials, e) : rc;
    return rc == ERRC_OK ? identity_write(server->env, server->options.data, identity, e) : rc;
}

static void on_destroyed(void *data)
{
    waiter_wake(data, ERRC_OK);
}

static void client_end(struct rpc_client *client)
{
    struct waiter waiter;
    waiter_init(&waiter);
    rpc_client_destroy(client, on_destroyed, &waiter);
    (void)waiter_wait(&waiter); /* always OK */
}

static enum errc join_ask(struct server *server, struct tls_context *tls, const struct server_address *voter,
                          struct slice head, struct error *e)
{
    char address[SERVER_ADDRESS_TEXT_BYTES];
    server_address_text(voter, address);
    const struct rpc_client_config config = { .env = server->env, .loop = server->cluster->out_loop, .tls = tls,
                                              .address = address, .role = ROLE_METADATA };
    struct rpc_client *client = rpc_client_create(&config);
    struct rpc_call call = { .method = RPC_CLUSTER_JOIN, .head = head,
                             .deadline_ns = env_now_ns(server->env) + JOIN_TIMEOUT_NS };
    struct cluster_join_reply reply;
    enum errc rc = wait_call(rpc_client_channel(client), server->completions, &call);
    if (rc != ERRC_OK) {
        (void)error_set(e, rc, "joining at %s: %s", address, call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
    } else if (cluster_join_reply_decode(enc_slice(&call.reply), &reply) != ERRC_OK) {
        rc = error_set(e, ERRC_CORRUPT, "joining at %s: the answer makes no sense", address);
    } else {
        rc = join_write(server, &reply, e);
    }
    mem_wipe(call.reply.data, call.reply.len);
    rpc_call_release(&call);
    client_end(client);
    return rc;
}

static enum errc join_any(struct server *server, struct tls_context *tls, struct slice head, struct error *e)
{
    struct error last = ERROR_INIT;
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned i = 0; i < server->options.join_count && (rc == ERRC_UNAVAILABLE || rc == ERRC_TIMEOUT); i++) {
        error_clear(&last);
        rc = join_ask(server, tls, &server->options.join[i], head, &last);
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "%s", last.text);
}

static enum errc join(struct server *server, struct error *e)
{
    struct token token;
    struct tls_context *tls = NULL;
    struct identity *identity = &server->cluster->identity;
    char *request = NULL;
    struct enc head = ENC_INIT;
    enum errc rc = token_parse(server->options.token, &token, e);
    if (rc == ERRC_OK && token.role != role_of(server->options.command)) {
        rc = error_set(e, ERRC_DENIED, "the token is for a %s, this is a %s", cluster_role_name(token.role),
                       cluster_role_name(role_of(server->options.command)));
    }
    rc = rc == ERRC_OK ? key_settle(server, e) : rc;
    rc = rc == ERRC_OK ? certificate_request_create(server->cluster->key_pem, identity->node, &request, e) : rc;
    rc = rc == ERRC_OK ? tls_context_create_pinned(token.ca_hash, &tls, e) : rc;
    if (rc == ERRC_OK) {
        identity_fill(server);
        const struct cluster_join message = {
            .role = identity->role, .token_id = slice_of(token.id, TOKEN_ID_BYTES),
            .token_secret = slice_of(token.secret, TOKEN_SECRET_BYTES), .node = identity->node, .csr = slice_str(request),
            .address = slice_str(identity->address), .name = slice_str(identity->name),
            .zone = slice_str(identity->zone), .rack = slice_str(identity->rack), .version = slice_str(CAIRN_VERSION),
        };
        cluster_join_encode(&head, &message);
        rc = join_any(server, tls, enc_slice(&head), e);
    }
    mem_wipe(head.data, head.len);
    mem_wipe(&token, sizeof(token));
    enc_free(&head);
    mem_free(request);
    tls_context_destroy(tls);
    return rc;
}

/* ---- start ---- */

static enum errc file_need(struct server *server, const char *name, char **ret_text, struct error *e)
{
    if (*ret_text != NULL) {
        return ERRC_OK;
    }
    enum errc rc = certificate_file_read(server->env, server->options.data, name, ret_text, NULL);
    return rc == ERRC_OK ? rc
                         : error_set(e, rc, "'%s/%s' cannot be read: %s", server->options.data, name, errc_text(rc));
}

enum errc cluster_files_read(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    bool voter = server->options.command == SERVER_METADATA;
    enum errc rc = file_need(server, "node.key", &cluster->key_pem, e);
    rc = rc == ERRC_OK ? file_need(server, "node.pem", &cluster->certificate_pem, e) : rc;
    rc = rc == ERRC_OK ? file_need(server, "ca.pem", &cluster->ca_pem, e) : rc;
    rc = rc == ERRC_OK && voter ? file_need(server, "ca.key", &cluster->ca_key_pem, e) : rc;
    rc = rc == ERRC_OK && voter ? cluster_renew_ended(server, e) : rc;
    rc = rc == ERRC_OK && (voter || server->options.command == SERVER_GATEWAY)
             ? credentials_read(server->env, server->options.data, &server->credentials, e) : rc;
    if (rc == ERRC_OK) {
        const struct tls_material material = { cluster->ca_pem, cluster->certificate_pem, cluster->key_pem };
        rc = tls_context_create(&material, &cluster->tls, e);
    }
    return rc;
}

static enum errc identity_check(struct server *server, struct error *e)
{
    const struct identity *identity = &server->cluster->identity;
    uint8_t role = role_of(server->options.command);
    if (identity->role != role) {
        return error_set(e, ERRC_INVALID, "'%s' belongs to a %s: this command runs a %s", server->options.data,
                         cluster_role_name(identity->role), cluster_role_name(role));
    }
    const struct server_options *options = &server->options;
    if ((options->zone[0] != '\0' && strcmp(options->zone, identity->zone) != 0) ||
        (options->rack[0] != '\0' && strcmp(options->rack, identity->rack) != 0)) {
        return error_set(e, ERRC_INVALID, "'%s' joined in zone '%s', rack '%s': this version can't move it", options->data,
                         identity->zone, identity->rack);
    }
    return ERRC_OK;
}

/*
 * A certificate that ended while the process was down is good for no connection: with a token the same key joins again, as the
 * same node. A voter needs nobody (cluster_renew_ended()). A file that cannot be read is for cluster_files_read() to tell.
 */
static enum errc certificate_settle(struct server *server, struct error *e)
{
    struct certificate_identity held;
    char *pem = NULL;
    int64_t now_s = (int64_t)(env_wall_ms(server->env) / 1000);
    bool ended = server->options.command != SERVER_METADATA &&
                 certificate_file_read(server->env, server->options.data, "node.pem", &pem, NULL) == ERRC_OK &&
                 certificate_identity_of(pem, &held, NULL) == ERRC_OK && held.not_after_s <= now_s;
    mem_free(pem);
    if (!ended) {
        return ERRC_OK;
    }
    if (server->options.token == NULL) {
        return error_set(e, ERRC_DENIED,
                         "the certificate in '%s' ended %lld hours ago: start once with --join and a new --token of "
                         "'cairn token create'; the node keeps its id, key and disks",
                         server->options.data, (long long)((now_s - held.not_after_s) / 3600));
    }
    enum errc rc = join(server, e);
    LOG_INFO(log_event(rc == ERRC_OK ? "cluster_joined_again" : "cluster_not_joined"),
             log_text("name", server->cluster->identity.name));
    return rc;
}

/* It may listen elsewhere than before: heartbeats tell the voter. */
static enum errc address_settle(struct server *server, struct error *e)
{
    struct identity *identity = &server->cluster->identity;
    struct identity before = *identity;
    address_fill(&server->options, identity);
    return strcmp(before.address, identity->address) == 0 ? ERRC_OK
                                                          : identity_write(server->env, server->options.data, identity, e);
}

enum errc cluster_identity_start(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    struct error why = ERROR_INIT;
    const char *data = server->options.data;
    enum errc rc = identity_lock(server->env, data, &cluster->lock, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = identity_read(server->env, data, &cluster->identity, &why);
    if (rc == ERRC_NOT_FOUND && server->options.token == NULL) {
        return error_set(e, ERRC_INVALID,
                         server->options.command == SERVER_METADATA
                             ? "'%s' has not joined a cluster: 'cairn cluster init' makes one, --join and --token join one"
                             : "'%s' has not joined a cluster: give --join and --token or a --token-file that exists", data);
    }
    if (rc == ERRC_NOT_FOUND) {
        rc = join(server, e);
        LOG_INFO(log_event(rc == ERRC_OK ? "cluster_joined" : "cluster_not_joined"), log_text("name", cluster->identity.name));
    } else if (rc != ERRC_OK) {
        return error_set(e, rc, "%s", why.text);
    }
    rc = rc == ERRC_OK ? identity_check(server, e) : rc;
    rc = rc == ERRC_OK ? certificate_settle(server, e) : rc;
    rc = rc == ERRC_OK ? address_settle(server, e) : rc;
    rc = rc == ERRC_OK ? cluster_files_read(server, e) : rc;
    server->dirs.cluster = cluster->identity.cluster;
    server->node_id = cluster->identity.node;
    return rc;
}

/* ---- cluster init ---- */

static enum errc certificates_make(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    const char *data = server->options.data;
    int64_t now_s = (int64_t)(env_wall_ms(server->env) / 1000);
    const struct certificate_identity self = cluster_certificate_identity(server, cluster->identity.node, ROLE_METADATA);
    char *request = NULL;
    enum errc rc = certificate_key_create(&cluster->ca_key_pem, e);
    rc = rc == ERRC_OK ? certificate_ca_create(cluster->ca_key_pem, self.cluster, now_s - DAY_S,
                                               now_s + (int64_t)CA_DAYS * DAY_S, &cluster->ca_pem, e) : rc;
    rc = rc == ERRC_OK ? certificate_request_create(cluster->key_pem, self.node, &request, e) : rc;
    rc = rc == ERRC_OK ? certificate_issue(cluster->ca_pem, cluster->ca_key_pem, request, &self,
                                           &cluster->certificate_pem, e) : rc;
    rc = rc == ERRC_OK ? certificate_file_write(server->env, data, "ca.key", cluster->ca_key_pem, e) : rc;
    rc = rc == ERRC_OK ? certificate_file_write(server->env, data, "ca.pem", cluster->ca_pem, e) : rc;
    rc = rc == ERRC_OK ? certificate_file_write(server->env, data, "node.pem", cluster->certificate_pem, e) : rc;
    mem_free(request);
    return rc;
}

static enum errc credentials_make(struct server *server, struct error *e)
{
    bool given = false;
    if (server->options.from != NULL) { /* those of the data set stay */
        return credentials_write(server->env, server->options.data, &server->credentials, e);
    }
    credentials_generate(server->env, server->cluster->identity.cluster, &server->credentials);
    enum errc rc = server_credentials_from_environment(server, &given, e);
    server->print_keys = !given;
    return rc == ERRC_OK ? credentials_write(server->env, server->options.data, &server->credentials, e) : rc;
}

enum errc cluster_init(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    struct identity *identity = &cluster->identity;
    const char *data = server->options.data;
    enum errc rc = identity_lock(server->env, data, &cluster->lock, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = identity_read(server->env, data, identity, NULL);
    if (rc != ERRC_NOT_FOUND) {
        return error_set(e, ERRC_EXISTS, "'%s' belongs to a cluster already", data);
    }
    rc = key_settle(server, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (server->options.from == NULL) {
        env_random(server->env, server->dirs.cluster.bytes, ID_BYTES);
    }
    identity->cluster = server->dirs.cluster;
    identity_fill(server);
    server->node_id = identity->node;
    identity->voter_count = 1;
    identity->voters[0].node = identity->node;
    memcpy(identity->voters[0].address, identity->address, sizeof(identity->address));
    rc = certificates_make(server, e);
    return rc == ERRC_OK ? credentials_make(server, e) : rc;
}
