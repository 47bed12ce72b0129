#include "server/admin_api.h"

#include "common/base/assert.h"
#include "common/base/digest.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/cluster_messages.h"
#include "gateway/auth/auth_request.h"
#include "gateway/s3/s3_request.h"
#include "gateway/s3/s3_uri.h"
#include "server/admin_forward.h"
#include "server/server.h"
#include "server/wait.h"

#include <openssl/crypto.h>
#include <string.h>

#define ADMIN_ARENA_BYTES (128u << 10)
#define MAP_ARENA_BYTES (4u << 20)

typedef unsigned (*admin_verb)(const struct admin_query *query, json_t **ret_json, struct error *e);

enum admin_place {
    BY_LEADER,  /* by voters, for the one that leads */
    BY_VOTER,   /* by voters, of themselves */
    BY_EACH,    /* gateways too, of themselves */
    BY_NODE     /* by storage nodes, whom the voter that leads asks over RPC; not served by HTTP */
};

struct admin_route {
    const char *method;
    const char *path;
    admin_verb verb;
    enum admin_place place;
};

static const struct admin_route routes[] = {
    { "GET", "/admin/v1/status", admin_status, BY_LEADER },
    { "GET", "/admin/v1/durability", admin_durability, BY_LEADER },
    { "GET", "/admin/v1/trace", admin_trace, BY_EACH },
    { "GET", "/admin/v1/config", admin_config, BY_EACH },
    { "GET", "/admin/v1/log", admin_log, BY_EACH },
    { "GET", "/admin/v1/topology", admin_topology, BY_LEADER },
    { "POST", "/admin/v1/fsck", admin_fsck_begin, BY_LEADER },
    { "GET", "/admin/v1/fsck", admin_fsck_show, BY_LEADER },
    { "GET", "/admin/v1/repair", admin_repair_show, BY_LEADER },
    { "POST", "/admin/v1/repair", admin_repair_change, BY_LEADER },
    { "GET", "/admin/v1/rebalance", admin_rebalance_show, BY_LEADER },
    { "POST", "/admin/v1/rebalance", admin_rebalance_change, BY_LEADER },
    { "GET", "/admin/v1/disks", admin_disks, BY_LEADER },
    { "GET", "/admin/v1/scrub", admin_scrub_show, BY_LEADER },
    { "POST", "/admin/v1/scrub", admin_scrub_start, BY_LEADER },
    { "POST", "/node/v1/scrub", node_verb_scrub, BY_NODE },
    { "GET", "/admin/v1/buckets", admin_buckets, BY_LEADER },
    { "POST", "/admin/v1/buckets/class", admin_bucket_class, BY_LEADER },
    { "GET", "/admin/v1/classes", admin_classes, BY_LEADER },
    { "POST", "/admin/v1/classes", admin_class_set, BY_LEADER },
    { "POST", "/admin/v1/classes/remove", admin_class_remove, BY_LEADER },
    { "GET", "/admin/v1/explain", admin_explain, BY_LEADER },
    { "POST", "/admin/v1/disks/replace", admin_disk_replace, BY_LEADER },
    { "POST", "/admin/v1/disks/add", admin_disk_add, BY_LEADER },
    { "POST", "/admin/v1/disks/state", admin_disk_state, BY_LEADER },
    { "POST", "/node/v1/disks", node_verb_disk_add, BY_NODE },
    { "GET", "/admin/v1/nodes", admin_nodes, BY_LEADER },
    { "POST", "/admin/v1/nodes/state", admin_node_state, BY_LEADER },
    { "POST", "/admin/v1/tokens", admin_token_create, BY_LEADER },
    { "GET", "/admin/v1/metadata", admin_metadata, BY_VOTER },
    { "GET", "/admin/v1/metadata/checkpoint", admin_checkpoint, BY_LEADER },
    { "GET", "/admin/v1/metadata/checkpoint/piece", admin_checkpoint_piece, BY_LEADER },
    { "POST", "/admin/v1/metadata/salvage", admin_salvage_begin, BY_LEADER },
    { "GET", "/admin/v1/metadata/salvage", admin_salvage_show, BY_LEADER },
    { "POST", "/admin/v1/metadata/promote", admin_metadata_promote, BY_LEADER },
    { "POST", "/admin/v1/metadata/remove", admin_metadata_remove, BY_LEADER },
};
#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

/* A signed request on its way: loop -> job executor -> loop. */
struct admin_job {
    struct task task;
    struct server *server;
    struct http_admin_request *request;
    struct executor *loop;
    const struct admin_route *route;
    struct admin_answer answer;
};

static void reply_text(struct http_admin_request *req, unsigned status, const char *content_type, const char *text)
{
    const struct http_admin_reply reply = { status, content_type, slice_str(text) };
    http_admin_reply(req, &reply);
}

struct admin_answer admin_answer_error(unsigned status, const char *text)
{
    json_t *json = json_pack("{s:s}", "error", text);
    char *answer = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return (struct admin_answer){ status, answer != NULL ? answer : strdup("{\"error\":\"internal error\"}") };
}

static void reply_error(struct http_admin_request *req, unsigned status, const char *text)
{
    struct admin_answer answer = admin_answer_error(status, text);
    reply_text(req, answer.status, "application/json", answer.text);
    free(answer.text);
}

/* The same choke point as on the S3 port: SigV4, root only. True when the request may go on. */
static bool admin_authenticate(struct server *server, struct http_admin_request *req, struct s3_request *view,
                               struct arena *arena)
{
    struct s3_error_info info = S3_ERROR_INFO_INIT;
    const struct s3_config config = { NULL, 0, server->s3_config.region };
    struct s3_header *headers = arena_alloc(arena, (req->header_count + 1) * sizeof(*headers));
    if (headers == NULL) {
        return false;
    }
    for (size_t i = 0; i < req->header_count; i++) {
        headers[i] = (struct s3_header){ req->headers[i].name, req->headers[i].value };
    }
    headers[req->header_count] = (struct s3_header){ slice_str("host"), req->authority };
    *view = (struct s3_request){ .method = req->method, .target = req->target, .headers = headers,
                                 .header_count = req->header_count + 1, .is_tls = req->is_tls,
                                 .host = req->authority };
    enum s3_error code = s3_request_parse(view, &config, arena, &info);
    if (code != S3_ERROR_NONE && code != S3_ERROR_NOT_IMPLEMENTED && code != S3_ERROR_METHOD_NOT_ALLOWED) {
        return false; /* the path is no S3 route: those two codes leave the view complete */
    }
    info = (struct s3_error_info)S3_ERROR_INFO_INIT;
    struct auth_result auth;
    if (auth_check(&server->admin_auth, view, env_wall_ms(server->env), &auth, &info) != S3_ERROR_NONE) {
        return false;
    }
    uint8_t hash[SHA256_BYTES];
    sha256_once(req->body.data, req->body.len, hash);
    bool ok = auth.is_root && auth.payload == AUTH_PAYLOAD_SHA256 &&
              CRYPTO_memcmp(hash, auth.payload_sha256, sizeof(hash)) == 0;
    auth_result_wipe(&auth);
    return ok;
}

/* ---- verbs ---- */

static char *param_copy(const struct s3_param *params, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal_str(params[i].name, name)) {
            return mem_strndup((const char *)params[i].value.data, params[i].value.len);
        }
    }
    return NULL;
}

static void query_fill(struct admin_query *query, const struct s3_param *params, size_t count)
{
    query->bucket = param_copy(params, count, "bucket");
    query->key = param_copy(params, count, "key");
    query->version_id = param_copy(params, count, "version-id");
    query->after = param_copy(params, count, "after");
    query->status = param_copy(params, count, "status");
    query->index = param_copy(params, count, "index");
    query->name = param_copy(params, count, "name");
    query->offset = param_copy(params, count, "offset");
}

static void query_free(struct admin_query *query)
{
    mem_free(query->bucket);
    mem_free(query->key);
    mem_free(query->version_id);
    mem_free(query->after);
    mem_free(query->status);
    mem_free(query->index);
    mem_free(query->name);
    mem_free(query->offset);
    json_decref(query->body);
}

static struct admin_answer verb_answer(const struct admin_route *route, const struct admin_query *query)
{
    struct error e = ERROR_INIT;
    json_t *json = NULL;
    unsigned status = route->verb(query, &json, &e);
    char *text = status == 200 ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(json);
    if (text != NULL) {
        return (struct admin_answer){ status, text };
    }
    return status == 200 ? admin_answer_error(500, "the answer is not valid UTF-8") : admin_answer_error(status, e.text);
}

struct admin_answer admin_verb_run(struct server *server, const struct admin_route *route, struct slice raw_query,
                                   struct slice body)
{
    struct admin_query query = { .server = server };
    struct admin_answer answer;
    struct s3_param *params = NULL;
    size_t count = 0;
    struct arena arena;
    arena_init(&arena, ADMIN_ARENA_BYTES);
    if (s3_query_parse(&arena, raw_query, &params, &count) != ERRC_OK) {
        answer = admin_answer_error(400, "the query makes no sense");
    } else if (body.len > 0 && (query.body = json_loadb((const char *)body.data, body.len, 0, NULL)) == NULL) {
        answer = admin_answer_error(400, "the body is not JSON");
    } else {
        query_fill(&query, params, count);
        answer = verb_answer(route, &query);
    }
    query_free(&query);
    arena_done(&arena);
    return answer;
}

const struct admin_route *admin_route_find(struct slice method, struct slice path)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (slice_equal_str(path, routes[i].path) && slice_equal_str(method, routes[i].method)) {
            return &routes[i];
        }
    }
    return NULL;
}

bool admin_route_is_leaders(const struct admin_route *route)
{
    return route->place == BY_LEADER;
}

bool admin_route_is_nodes(const struct admin_route *route)
{
    return route->place == BY_NODE;
}

/* ---- requests ---- */

static void job_reply(struct task *task)
{
    struct admin_job *job = container_of(task, struct admin_job, task);
    reply_text(job->request, job->answer.status, "application/json", job->answer.text);
    free(job->answer.text);
    mem_free(job);
}

/* The request and its bytes live until it is answered, though the client may have left. */
static void job_run(struct task *task)
{
    struct admin_job *job = container_of(task, struct admin_job, task);
    const struct http_admin_request *req = job->request;
    if (admin_forward_wanted(job->server, job->route)) {
        const struct admin_request request = { req->method, req->path, req->query, req->body };
        job->answer = admin_forward(job->server, &request);
    } else {
        job->answer = admin_verb_run(job->server, job->route, req->query, req->body);
    }
    job->task.run = job_reply;
    executor_post(job->loop, &job->task);
}

static void on_signed(void *data, struct http_admin_request *req)
{
    struct server *server = data;
    const struct admin_route *route = admin_route_find(req->method, req->path);
    ASSERT(route != NULL); /* only registered paths come here */
    struct arena arena;
    struct s3_request view;
    arena_init(&arena, ADMIN_ARENA_BYTES);
    bool ok = admin_authenticate(server, req, &view, &arena);
    arena_done(&arena);
    if (!ok) {
        reply_error(req, 403, "access denied: sign the request with the root keys");
        return;
    }
    struct admin_job *job = mem_zalloc(sizeof(*job));
    *job = (struct admin_job){ .task.run = job_run, .server = server, .request = req, .loop = req->executor, .route = route };
    executor_post(server->admin_jobs, &job->task);
}

static void on_healthz(void *data, struct http_admin_request *req)
{
    (void)data;
    reply_text(req, 200, "text/plain", "ok\n");
}

static void on_readyz(void *data, struct http_admin_request *req)
{
    struct server *server = data;
    bool ready = server_ready(server);
    reply_text(req, ready ? 200 : 503, "text/plain", ready ? "ready\n" : "not ready\n");
}

unsigned admin_map_run(const struct admin_query *query, admin_with_map *run, json_t **ret_json, struct error *e)
{
    const struct meta_query ask = { .type = META_QRY_CLUSTER };
    struct server *server = query->server;
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, MAP_ARENA_BYTES);
    unsigned status = wait_query(&server->meta, server->completions, &arena, &op, &ask, e) == ERRC_OK
                          ? run(query, &op.cluster, ret_json, e) : 503;
    meta_op_release(&op);
    arena_done(&arena);
    return status;
}

static void on_metrics(void *data, struct http_admin_request *req)
{
    struct server *server = data;
    if (server->options.metrics_auth) {
        struct arena arena;
        struct s3_request view;
        arena_init(&arena, ADMIN_ARENA_BYTES);
        bool ok = admin_authenticate(server, req, &view, &arena);
        arena_done(&arena);
        if (!ok) {
            reply_error(req, 403, "access denied: sign the request with the root keys");
            return;
        }
    }
    struct enc text = ENC_INIT;
    server_metrics_write(server, &text);
    const struct http_admin_reply reply = { 200, "text/plain; version=0.0.4; charset=utf-8", enc_slice(&text) };
    http_admin_reply(req, &reply);
    enc_free(&text);
}

void admin_api_register(struct server *server, struct http_admin *admin)
{
    static const char *const methods[] = { "GET", "HEAD" }; /* health checks like HEAD; h2o keeps the body back */
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        http_admin_add(admin, "/healthz", methods[i], on_healthz, server);
        http_admin_add(admin, "/readyz", methods[i], on_readyz, server);
        http_admin_add(admin, "/metrics", methods[i], on_metrics, server);
    }
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (routes[i].place != BY_NODE && (server->voter != NULL || routes[i].place == BY_EACH)) {
            http_admin_add(admin, routes[i].path, routes[i].method, on_signed, server);
        }
    }
}
