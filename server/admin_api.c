#include "server/admin_api.h"

#include "common/base/assert.h"
#include "common/base/digest.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "gateway/auth/auth_request.h"
#include "gateway/s3/s3_request.h"
#include "server/server.h"

#include <openssl/crypto.h>
#include <string.h>

#define ADMIN_ARENA_BYTES (128u << 10)

typedef unsigned (*admin_verb)(const struct admin_query *query, json_t **ret_json, struct error *e);

struct admin_route {
    const char *method;
    const char *path;
    admin_verb verb;
    bool everywhere; /* gateways answer it too; the others are voters' */
};

static const struct admin_route routes[] = {
    { "GET", "/admin/v1/status", admin_status, false },
    { "GET", "/admin/v1/durability", admin_durability, false },
    { "GET", "/admin/v1/trace", admin_trace, true },
    { "GET", "/admin/v1/config", admin_config, true },
    { "GET", "/admin/v1/log", admin_log, true },
    { "GET", "/admin/v1/topology", admin_topology, false },
    { "POST", "/admin/v1/fsck", admin_fsck_begin, false },
    { "GET", "/admin/v1/fsck", admin_fsck_show, false },
    { "GET", "/admin/v1/disks", admin_disks, false },
    { "GET", "/admin/v1/buckets", admin_buckets, false },
    { "GET", "/admin/v1/explain", admin_explain, false },
    { "POST", "/admin/v1/disks/replace", admin_disk_replace, false },
    { "GET", "/admin/v1/nodes", admin_nodes, false },
    { "POST", "/admin/v1/tokens", admin_token_create, false },
};
#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

/* A signed request on its way: loop -> job executor -> loop. */
struct admin_job {
    struct task task;
    struct server *server;
    struct http_admin_request *request;
    struct executor *loop;
    admin_verb verb;
    struct admin_query query;
    unsigned status;
    char *answer; /* JSON text */
};

static void reply_text(struct http_admin_request *req, unsigned status, const char *content_type, const char *text)
{
    const struct http_admin_reply reply = { status, content_type, slice_str(text) };
    http_admin_reply(req, &reply);
}

static char *error_json(const char *text)
{
    json_t *json = json_pack("{s:s}", "error", text);
    char *answer = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return answer != NULL ? answer : strdup("{\"error\":\"internal error\"}");
}

static void reply_error(struct http_admin_request *req, unsigned status, const char *text)
{
    char *answer = error_json(text);
    reply_text(req, status, "application/json", answer);
    free(answer);
}

static char *param_copy(const struct s3_request *request, const char *name)
{
    const struct s3_param *param = s3_param_get(request, name);
    return param != NULL ? mem_strndup((const char *)param->value.data, param->value.len) : NULL;
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

static void job_reply(struct task *task)
{
    struct admin_job *job = container_of(task, struct admin_job, task);
    reply_text(job->request, job->status, "application/json", job->answer);
    free(job->answer);
    mem_free(job->query.bucket);
    mem_free(job->query.key);
    mem_free(job->query.version_id);
    mem_free(job->query.after);
    mem_free(job->query.status);
    json_decref(job->query.body);
    mem_free(job);
}

static void job_run(struct task *task)
{
    struct admin_job *job = container_of(task, struct admin_job, task);
    struct error e = ERROR_INIT;
    json_t *json = NULL;
    job->status = job->verb(&job->query, &json, &e);
    job->answer = job->status == 200 ? json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER) : error_json(e.text);
    if (job->answer == NULL) {
        job->status = 500;
        job->answer = error_json("the answer is not valid UTF-8");
    }
    json_decref(json);
    job->task.run = job_reply;
    executor_post(job->loop, &job->task);
}

static const struct admin_route *route_find(const struct http_admin_request *req)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (slice_equal_str(req->path, routes[i].path) && slice_equal_str(req->method, routes[i].method)) {
            return &routes[i];
        }
    }
    return NULL;
}

static void on_signed(void *data, struct http_admin_request *req)
{
    struct server *server = data;
    const struct admin_route *route = route_find(req);
    ASSERT(route != NULL); /* only registered paths come here */
    struct arena arena;
    struct s3_request view;
    arena_init(&arena, ADMIN_ARENA_BYTES);
    if (!admin_authenticate(server, req, &view, &arena)) {
        arena_done(&arena);
        reply_error(req, 403, "access denied: sign the request with the root keys");
        return;
    }
    json_t *body = NULL;
    if (req->body.len > 0) {
        body = json_loadb((const char *)req->body.data, req->body.len, 0, NULL);
        if (body == NULL) {
            arena_done(&arena);
            reply_error(req, 400, "the body is not JSON");
            return;
        }
    }
    struct admin_job *job = mem_zalloc(sizeof(*job));
    *job = (struct admin_job){
        .task.run = job_run, .server = server, .request = req, .loop = req->executor, .verb = route->verb,
        .query = { server, param_copy(&view, "bucket"), param_copy(&view, "key"), param_copy(&view, "version-id"),
                   param_copy(&view, "after"), param_copy(&view, "status"), body },
    };
    arena_done(&arena);
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
    bool ready = atomic_load(&server->ready);
    reply_text(req, ready ? 200 : 503, "text/plain", ready ? "ready\n" : "not ready\n");
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
        if (server->voter != NULL || routes[i].everywhere) {
            http_admin_add(admin, routes[i].path, routes[i].method, on_signed, server);
        }
    }
}
