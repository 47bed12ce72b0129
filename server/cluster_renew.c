/*
 *   SLEEPING -> LOOKING -> (ASKING THE VOTER) -> SLEEPING                 on `completions` (cluster_duty.h)
 *
 * A process asks for a new certificate for its same key when less than a third of its life is left; a voter, which has the
 * CA's key, issues its own. The file is replaced before the process uses what is in it: a crash in between leaves the old
 * certificate or the new one in the file, and either fits the key. Connections that stand keep what they were made with;
 * clients make new ones and retire the others when their calls have ended (common/rpc/rpc_client.h).
 * Replacing the file waits for the disk, on `completions`: once in two thirds of a life.
 */
#include "server/cluster_renew.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "common/rpc/rpc_schema.h"
#include "server/cluster.h"
#include "server/cluster_duty.h"
#include "server/cluster_voters.h"

#include <string.h>

#define DAY_S 86400
#define URGENT_S ((int64_t)7 * DAY_S)
#define LOOK_MS 3600000u /* at most, between two looks: the wall clock may be set */
#define RETRY_MS_MIN 1000u
#define RETRY_MS_MAX 3600000u
#define ASK_TIMEOUT_NS UINT64_C(5000000000) /* a stop waits for it */

struct cluster_renewal {
    struct server *server;
    struct cluster_duty duty;
    struct certificate_identity held; /* what the certificate in use says */
    int64_t due_s;
    uint32_t retry_ms;                /* 0: the last attempt did not fail */
    int64_t error_at_s;               /* of the last line of level error */
    struct enc head;
    struct rpc_call call;
    unsigned turn;                    /* whose it is among the voters */
};

/* ---- rules ---- */

static int64_t life_of(const struct certificate_identity *identity)
{
    int64_t life = identity->not_after_s - identity->not_before_s - CLUSTER_CERTIFICATE_BACK_S;
    return life > 0 ? life : 0;
}

int64_t cluster_renew_due(const struct certificate_identity *held, uint8_t random)
{
    int64_t third = life_of(held) / 3;
    return held->not_after_s - third + third * random / 1024;
}

enum errc cluster_renew_allowed(const struct meta_cluster_reply *map, struct node_id id, uint8_t role,
                                const uint8_t key_hash[SHA256_BYTES], struct error *e)
{
    const struct meta_node *node = meta_cluster_node(map, id);
    if (memcmp(id.bytes, key_hash, ID_BYTES) != 0) { /* hashes of what is public */
        return error_set(e, ERRC_DENIED, "the key is not that of the caller's certificate");
    }
    if (node == NULL) {
        return error_set(e, ERRC_DENIED, "the cluster does not know this node");
    }
    if (node->state == META_NODE_REMOVED_FOR_EVER) {
        return error_set(e, ERRC_DENIED, "this node was removed from the cluster");
    }
    if (node->role != role || memcmp(node->key_hash, key_hash, SHA256_BYTES) != 0) {
        return error_set(e, ERRC_DENIED, "this node joined with another role or key");
    }
    return ERRC_OK;
}

enum errc cluster_renew_check(const char *ca_pem, const char *key_pem, const char *certificate_pem,
                              const struct certificate_identity *held, int64_t now_s, struct certificate_identity *ret,
                              struct error *e)
{
    struct certificate_identity found;
    enum errc rc = certificate_verify(ca_pem, certificate_pem, now_s, &found, e);
    rc = rc == ERRC_OK ? certificate_key_fits(certificate_pem, key_pem, e) : rc;
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!cluster_id_equal(found.cluster, held->cluster) || !node_id_equal(found.node, held->node) || found.role != held->role) {
        return error_set(e, ERRC_DENIED, "the new certificate names another process");
    }
    *ret = found;
    return ERRC_OK;
}

/* ---- what a voter issues ---- */

static int64_t life_wanted(const struct server *server)
{
    return server->options.certificate_life_s > 0 ? server->options.certificate_life_s : CLUSTER_CERTIFICATE_LIFE_S;
}

struct certificate_identity cluster_certificate_identity(const struct server *server, struct node_id node, uint8_t role)
{
    int64_t now_s = (int64_t)(env_wall_ms(server->env) / 1000);
    return (struct certificate_identity){ server->cluster->identity.cluster, node, role, now_s - CLUSTER_CERTIFICATE_BACK_S,
                                          now_s + life_wanted(server) };
}

static enum errc issue_own(const struct server *server, const struct certificate_identity *held, char **ret_pem, struct error *e)
{
    struct cluster *cluster = server->cluster;
    const struct certificate_identity identity = cluster_certificate_identity(server, held->node, held->role);
    char *request = NULL;
    enum errc rc = certificate_request_create(cluster->key_pem, held->node, &request, e);
    rc = rc == ERRC_OK ? certificate_issue(cluster->ca_pem, cluster->ca_key_pem, request, &identity, ret_pem, e) : rc;
    mem_free(request);
    return rc;
}

enum errc cluster_renew_ended(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    struct certificate_identity held, found = { .role = ROLE_NONE };
    int64_t now_s = (int64_t)(env_wall_ms(server->env) / 1000);
    char *certificate = NULL;
    enum errc rc = certificate_identity_of(cluster->certificate_pem, &held, e);
    if (rc != ERRC_OK || held.not_after_s > now_s) {
        return rc;
    }
    rc = issue_own(server, &held, &certificate, e);
    rc = rc == ERRC_OK ? cluster_renew_check(cluster->ca_pem, cluster->key_pem, certificate, &held, now_s, &found, e) : rc;
    rc = rc == ERRC_OK ? certificate_file_write(server->env, server->options.data, "node.pem", certificate, e) : rc;
    if (rc != ERRC_OK) {
        mem_free(certificate);
        return error_wrap(e, "this voter's certificate has ended, and it cannot issue itself another");
    }
    mem_free(cluster->certificate_pem);
    cluster->certificate_pem = certificate;
    LOG_INFO(log_event("certificate_renewed"), log_i64("days_left", (found.not_after_s - now_s) / DAY_S),
             log_i64("seconds_left", found.not_after_s - now_s));
    return ERRC_OK;
}

/* ---- a process ---- */

static int64_t wall_s(const struct cluster_renewal *self)
{
    return (int64_t)(env_wall_ms(self->server->env) / 1000);
}

static void held_set(struct cluster_renewal *self, const struct certificate_identity *held)
{
    uint8_t random;
    env_random(self->server->env, &random, sizeof(random));
    self->held = *held;
    self->due_s = cluster_renew_due(held, random);
    atomic_store(&self->server->cluster->certificate_end_s, held->not_after_s);
}

/* Takes the text. */
static enum errc install(struct cluster_renewal *self, char *certificate, struct error *e)
{
    struct server *server = self->server;
    struct cluster *cluster = server->cluster;
    const struct tls_material material = { cluster->ca_pem, certificate, cluster->key_pem };
    struct certificate_identity found = { .role = ROLE_NONE };
    bool own = cluster->ca_key_pem != NULL; /* an operator may have shortened lives: then its own may end earlier */
    enum errc rc = cluster_renew_check(cluster->ca_pem, cluster->key_pem, certificate, &self->held, wall_s(self), &found, e);
    if (rc == ERRC_OK && !own && found.not_after_s <= self->held.not_after_s) {
        rc = error_set(e, ERRC_INVALID, "the new certificate does not end later than the old one");
    }
    rc = rc == ERRC_OK ? certificate_file_write(server->env, server->options.data, "node.pem", certificate, e) : rc;
    rc = rc == ERRC_OK ? tls_context_reload(cluster->tls, &material, e) : rc;
    if (rc == ERRC_OK) {
        held_set(self, &found);
    }
    mem_free(certificate);
    return rc;
}

static void sleep_for(struct cluster_renewal *self, uint64_t wait_ms)
{
    cluster_duty_sleep(&self->duty, wait_ms < LOOK_MS ? wait_ms : LOOK_MS);
}

static void sleep_until_due(struct cluster_renewal *self)
{
    int64_t wait_s = self->due_s - wall_s(self);
    sleep_for(self, wait_s > 0 ? (uint64_t)wait_s * 1000 : RETRY_MS_MIN);
}

/* Once a day as an error when there is not much time left; a warning otherwise. */
static void failure_log(struct cluster_renewal *self, const struct error *e)
{
    int64_t now_s = wall_s(self);
    int64_t left_s = self->held.not_after_s - now_s;
    int64_t sixth = life_of(&self->held) / 6;
    if (left_s < (URGENT_S < sixth ? URGENT_S : sixth) && (self->error_at_s == 0 || now_s - self->error_at_s >= DAY_S)) {
        self->error_at_s = now_s;
        LOG_ERROR(log_event("certificate_not_renewed"), log_i64("days_left", left_s / DAY_S), log_i64("seconds_left", left_s),
                  log_error_of(e));
    } else {
        LOG_WARN(log_event("certificate_not_renewed"), log_i64("days_left", left_s / DAY_S), log_i64("seconds_left", left_s),
                 log_error_of(e));
    }
}

static void attempt_end(struct cluster_renewal *self, enum errc rc, const struct error *e)
{
    if (rc == ERRC_OK) {
        int64_t left_s = self->held.not_after_s - wall_s(self);
        self->retry_ms = 0;
        self->error_at_s = 0;
        LOG_INFO(log_event("certificate_renewed"), log_i64("days_left", left_s / DAY_S), log_i64("seconds_left", left_s));
        sleep_until_due(self);
        return;
    }
    uint64_t most_ms = (uint64_t)life_of(&self->held) * 1000 / 20;
    uint64_t wait_ms = (uint64_t)self->retry_ms * 2;
    most_ms = most_ms < RETRY_MS_MIN ? RETRY_MS_MIN : most_ms < RETRY_MS_MAX ? most_ms : RETRY_MS_MAX;
    wait_ms = wait_ms < RETRY_MS_MIN ? RETRY_MS_MIN : wait_ms < most_ms ? wait_ms : most_ms;
    self->retry_ms = (uint32_t)wait_ms;
    failure_log(self, e);
    sleep_for(self, wait_ms);
}

static void on_answer(struct rpc_call *call)
{
    struct cluster_renewal *self = call->data;
    struct cluster_join_reply reply;
    struct error e = ERROR_INIT;
    enum errc rc = call->status;
    if (rc != ERRC_OK) {
        (void)error_set(&e, rc, "%s", call->error.code != ERRC_OK ? call->error.text : errc_text(rc));
    } else if (cluster_join_reply_decode(enc_slice(&call->reply), &reply) != ERRC_OK) {
        rc = error_set(&e, ERRC_CORRUPT, "the voter's answer makes no sense");
    } else if (!slice_equal_str(reply.ca, self->server->cluster->ca_pem)) {
        rc = error_set(&e, ERRC_DENIED, "the voter's answer is of another CA");
    } else {
        rc = install(self, mem_strndup((const char *)reply.certificate.data, reply.certificate.len), &e);
    }
    rpc_call_release(call);
    attempt_end(self, rc, &e);
}

static void ask(struct cluster_renewal *self)
{
    struct server *server = self->server;
    struct error e = ERROR_INIT;
    char *request = NULL;
    struct metadata_voter voters[CLUSTER_VOTERS_MAX];
    unsigned count = cluster_voters_list(server, voters);
    enum errc rc = count > 0 ? certificate_request_create(server->cluster->key_pem, self->held.node, &request, &e)
                             : error_set(&e, ERRC_UNAVAILABLE, "no voter is known");
    if (rc != ERRC_OK) {
        attempt_end(self, rc, &e);
        return;
    }
    const struct cluster_renew message = { .csr = slice_str(request) };
    enc_reset(&self->head);
    cluster_renew_encode(&self->head, &message);
    mem_free(request);
    self->call = (struct rpc_call){ .method = RPC_CLUSTER_RENEW, .head = enc_slice(&self->head),
                                    .deadline_ns = env_now_ns(server->env) + ASK_TIMEOUT_NS,
                                    .reply_to = server->completions, .done = on_answer, .data = self };
    rpc_call_start(voters[self->turn++ % count].channel, &self->call); /* the next attempt asks the next one */
}

static void look(struct cluster_duty *duty)
{
    struct cluster_renewal *self = container_of(duty, struct cluster_renewal, duty);
    struct server *server = self->server;
    bool own = server->cluster->ca_key_pem != NULL;
    int64_t now_s = wall_s(self);
    bool too_long = own && life_of(&self->held) > life_wanted(server); /* the option is new since it was made */
    if (now_s < self->due_s && !too_long) {
        sleep_until_due(self);
    } else if (own) {
        struct error e = ERROR_INIT;
        char *certificate = NULL;
        enum errc rc = issue_own(server, &self->held, &certificate, &e);
        rc = rc == ERRC_OK ? install(self, certificate, &e) : rc;
        attempt_end(self, rc, &e);
    } else {
        ask(self);
    }
}

enum errc cluster_renew_start(struct server *server, struct error *e)
{
    struct cluster *cluster = server->cluster;
    struct certificate_identity held;
    enum errc rc = certificate_identity_of(cluster->certificate_pem, &held, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct cluster_renewal *self = mem_zalloc(sizeof(*self));
    self->server = server;
    cluster_duty_init(&self->duty, server->completions, look);
    cluster->renewal = self;
    held_set(self, &held);
    cluster_duty_begin(&self->duty);
    if (cluster->ca_key_pem != NULL && atomic_load(&cluster->certificate_end_s) <= wall_s(self)) {
        return error_set(e, ERRC_DENIED, "this voter's certificate has ended, and it cannot issue itself another: see the log");
    }
    return ERRC_OK;
}

void cluster_renew_stop(struct server *server)
{
    struct cluster_renewal *self = server->cluster->renewal;
    if (self == NULL) {
        return;
    }
    cluster_duty_stop(&self->duty);
    server->cluster->renewal = NULL;
    enc_free(&self->head);
    mem_free(self);
}
