#include "common/http/http_admin.h"

#include "common/base/arena.h"
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/http/http_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <h2o.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADMIN_ROUTES_MAX 64
#define ADMIN_REQUEST_ARENA_BYTES (2u << 20) /* the body and its head, copied */
#define ADMIN_IDLE_MS 30000
#define ADMIN_BACKLOG 128
#define ADMIN_CONNECTIONS_MAX 256
#define ADMIN_REPLY_MS 60000
#define ADMIN_CLOSE_MS 3000
#define ADMIN_TICKS 8 /* looks at the connections within the shorter of reply_ms and close_ms */

struct admin_route {
    const char *path;
    const char *method;
    http_admin_fn *fn;
    void *data;
};

struct http_admin {
    struct loop *loop;
    struct http_tls *tls;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint16_t port;
    int fd;                      /* -1: not started */
    struct admin_route routes[ADMIN_ROUTES_MAX];
    size_t route_count;
    h2o_globalconf_t config;
    h2o_context_t context;       /* the loop thread's, as all below */
    h2o_accept_ctx_t accept;
    uv_tcp_t listener;
    uv_timer_t clock;            /* ticks; closed behind everything else */
    struct http_admin_limits limits;
    struct list conns;
    unsigned conn_count;
    uint64_t closing_ms;         /* of the loop's clock: when closing began */
    bool listening;
    bool closing;
    struct task start;
    struct task closed;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

struct admin_conn {
    struct list node;
    struct http_admin *admin;
    h2o_socket_t *sock;
    uint64_t reply_ms; /* of the loop's clock: when the answer began that is being written; 0: none is */
};

struct admin_handler {
    h2o_handler_t super; /* h2o's, first */
    struct http_admin *admin;
};

struct admin_request {
    struct http_admin_request req; /* what the handler has; first */
    h2o_req_t *h2o;                /* NULL: the client is gone */
    struct admin_watch *watch;     /* valid while h2o is */
    struct arena arena;
};

/* In h2o's memory of the request: tells us when that ends. */
struct admin_watch {
    struct admin_request *request; /* NULL: answered */
};

/* ---- requests ---- */

static void on_watch_gone(void *data)
{
    struct admin_watch *watch = data;
    if (watch->request != NULL) {
        watch->request->h2o = NULL;
    }
}

static struct slice copied(struct admin_request *self, h2o_iovec_t bytes)
{
    struct slice copy = arena_copy(&self->arena, slice_of(bytes.base, bytes.len));
    ASSERT(copy.len == 0 || copy.data != NULL); /* head and body are limited below the arena */
    return copy;
}

static void copy_headers(struct admin_request *self, const h2o_req_t *h2o)
{
    size_t count = h2o->headers.size < ADMIN_HEADERS_MAX ? h2o->headers.size : ADMIN_HEADERS_MAX;
    struct http_admin_header *headers = arena_alloc(&self->arena, (count + 1) * sizeof(*headers));
    ASSERT(headers != NULL);
    for (size_t i = 0; i < count; i++) {
        headers[i].name = copied(self, *h2o->headers.entries[i].name);
        headers[i].value = copied(self, h2o->headers.entries[i].value);
    }
    self->req.headers = headers;
    self->req.header_count = count;
}

static struct admin_request *admin_request_create(struct http_admin *admin, h2o_req_t *h2o)
{
    struct admin_request *self = mem_zalloc(sizeof(*self));
    self->h2o = h2o;
    arena_init(&self->arena, ADMIN_REQUEST_ARENA_BYTES);
    self->req.method = copied(self, h2o->input.method);
    self->req.target = copied(self, h2o->input.path);
    size_t path_len = h2o->input.query_at < self->req.target.len ? h2o->input.query_at : self->req.target.len;
    self->req.path = slice_of(self->req.target.data, path_len);
    self->req.query = slice_skip(self->req.target, path_len + 1);
    self->req.authority = copied(self, h2o->input.authority);
    self->req.body = copied(self, h2o->entity);
    self->req.is_tls = admin->tls != NULL;
    self->req.executor = loop_executor(admin->loop);
    copy_headers(self, h2o);
    return self;
}

struct slice http_admin_header_find(const struct http_admin_request *req, const char *lower_name)
{
    for (size_t i = 0; i < req->header_count; i++) {
        if (slice_equal_str(req->headers[i].name, lower_name)) {
            return req->headers[i].value;
        }
    }
    return SLICE_EMPTY;
}

static void send_answer(h2o_req_t *h2o, unsigned status, const char *content_type, struct slice body)
{
    h2o->res.status = (int)status;
    h2o->res.content_length = body.len;
    h2o->res.reason = status < 300 ? "OK" : "Error";
    struct admin_conn *conn = h2o->conn->callbacks->get_socket(h2o->conn)->on_close.data;
    conn->reply_ms = uv_now(loop_uv(conn->admin->loop));
    h2o_iovec_t type = h2o_strdup(&h2o->pool, content_type, strlen(content_type));
    h2o_add_header(&h2o->pool, &h2o->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type.base, type.len);
    h2o_send_inline(h2o, (const char *)body.data, body.len);
}

void http_admin_reply(struct http_admin_request *req, const struct http_admin_reply *reply)
{
    struct admin_request *self = container_of(req, struct admin_request, req);
    h2o_req_t *h2o = self->h2o;
    if (h2o != NULL) {
        self->watch->request = NULL;
        send_answer(h2o, reply->status, reply->content_type, reply->body);
    }
    arena_done(&self->arena);
    mem_free(self);
}

/* The longest route that fits the path; NULL: none. *ret_other: only other methods do. */
static const struct admin_route *route_find(const struct http_admin *admin, struct slice path, struct slice method,
                                            bool *ret_other)
{
    const struct admin_route *best = NULL;
    size_t best_len = 0;
    *ret_other = false;
    for (size_t i = 0; i < admin->route_count; i++) {
        const struct admin_route *route = &admin->routes[i];
        struct slice want = slice_str(route->path);
        bool below = want.data[want.len - 1] == '/';
        if (!(below ? slice_starts(path, want) : slice_equal(path, want))) {
            continue;
        }
        if (!slice_equal_str(method, route->method)) {
            *ret_other = true;
        } else if (want.len > best_len) {
            best = route;
            best_len = want.len;
        }
    }
    return best;
}

static int on_h2o_request(h2o_handler_t *super, h2o_req_t *h2o)
{
    struct http_admin *admin = ((struct admin_handler *)super)->admin;
    size_t path_len = h2o->input.query_at < h2o->input.path.len ? h2o->input.query_at : h2o->input.path.len;
    bool other = false;
    const struct admin_route *route =
        route_find(admin, slice_of(h2o->input.path.base, path_len),
                   slice_of(h2o->input.method.base, h2o->input.method.len), &other);
    if (admin->closing) {
        h2o->http1_is_persistent = 0;
    }
    if (route == NULL) {
        send_answer(h2o, other ? 405 : 404, "text/plain", slice_str(other ? "method not allowed\n" : "not found\n"));
        return 0;
    }
    struct admin_request *self = admin_request_create(admin, h2o);
    struct admin_watch *watch = h2o_mem_alloc_shared(&h2o->pool, sizeof(*watch), on_watch_gone);
    watch->request = self;
    self->watch = watch;
    route->fn(route->data, &self->req);
    return 0;
}

/* ---- connections ---- */

static void admin_check_closed(struct http_admin *admin);

static void on_sock_closed(void *data)
{
    struct admin_conn *conn = data;
    struct http_admin *admin = conn->admin;
    http_tls_forget_errors(); /* of its handshake or its end: no other connection of this thread may find it */
    list_remove(&conn->node);
    admin->conn_count--;
    mem_free(conn);
    admin_check_closed(admin);
}

static void on_tcp_freed(uv_handle_t *handle)
{
    mem_free(handle);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_admin *admin = listener->data;
    if (status != 0) {
        return;
    }
    uv_tcp_t *tcp = mem_alloc(sizeof(*tcp));
    (void)uv_tcp_init(listener->loop, tcp);
    if (uv_accept(listener, (uv_stream_t *)tcp) != 0 || admin->conn_count >= admin->limits.connections) {
        uv_close((uv_handle_t *)tcp, on_tcp_freed);
        return;
    }
    struct admin_conn *conn = mem_zalloc(sizeof(*conn));
    conn->admin = admin;
    conn->sock = h2o_uv_socket_create((uv_stream_t *)tcp, on_tcp_freed);
    conn->sock->on_close.cb = on_sock_closed;
    conn->sock->on_close.data = conn;
    list_append(&admin->conns, &conn->node);
    admin->conn_count++;
    SSL_CTX *ctx = admin->tls != NULL ? http_tls_get(admin->tls) : NULL;
    admin->accept.ssl_ctx = ctx;
    h2o_accept(&admin->accept, conn->sock);
    SSL_CTX_free(ctx); /* the connection has its own reference */
}

/* Its pending write fails, h2o closes it, and the kernel keeps nothing of it. A request that a handler holds stays
 * until it is answered. */
static void conn_reset(const struct admin_conn *conn)
{
    const struct linger none = { .l_onoff = 1, .l_linger = 0 };
    int fd = h2o_socket_get_fd(conn->sock);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    (void)shutdown(fd, SHUT_RDWR);
}

static void on_clock(uv_timer_t *clock)
{
    struct http_admin *admin = clock->data;
    uint64_t now = uv_now(clock->loop);
    bool ends = admin->closing && now - admin->closing_ms >= admin->limits.close_ms;
    list_for_each(node, &admin->conns) {
        struct admin_conn *conn = container_of(node, struct admin_conn, node);
        if (!h2o_socket_is_writing(conn->sock)) {
            conn->reply_ms = 0;
        } else if (conn->reply_ms == 0) {
            conn->reply_ms = now; /* an answer that h2o made itself */
        }
        if (ends || (conn->reply_ms != 0 && now - conn->reply_ms >= admin->limits.reply_ms)) {
            conn_reset(conn);
        }
    }
}

static void clock_start(struct http_admin *admin)
{
    const struct http_admin_limits *limits = &admin->limits;
    uint32_t tick_ms = (limits->reply_ms < limits->close_ms ? limits->reply_ms : limits->close_ms) / ADMIN_TICKS + 1;
    admin->clock.data = admin;
    (void)uv_timer_init(loop_uv(admin->loop), &admin->clock);
    (void)uv_timer_start(&admin->clock, on_clock, tick_ms, tick_ms);
}

/* ---- life ---- */

static enum errc admin_address(struct http_admin *admin, const char *text, uint16_t port, struct error *e)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&admin->address;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&admin->address;
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        admin->address_len = sizeof(*in);
    } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        admin->address_len = sizeof(*in6);
    } else {
        return error_set(e, ERRC_INVALID, "'%s' is no numeric address", text);
    }
    return ERRC_OK;
}

enum errc http_admin_create(struct loop *loop, const char *address, uint16_t port, struct http_tls *tls,
                            struct http_admin **ret_admin, struct error *e)
{
    struct http_admin *admin = mem_zalloc(sizeof(*admin));
    enum errc rc = admin_address(admin, address, port, e);
    if (rc != ERRC_OK) {
        mem_free(admin);
        return rc;
    }
    admin->loop = loop;
    admin->tls = tls;
    admin->fd = -1;
    list_init(&admin->conns);
    http_admin_limit(admin, &(struct http_admin_limits){ 0 });
    h2o_config_init(&admin->config);
    admin->config.server_name = h2o_iovec_init(H2O_STRLIT("Cairn"));
    admin->config.max_request_entity_size = ADMIN_BODY_BYTES_MAX;
    admin->config.http1.upgrade_to_http2 = 0;
    admin->config.http1.req_timeout = ADMIN_IDLE_MS;
    h2o_hostconf_t *host = h2o_config_register_host(&admin->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct admin_handler *handler = (struct admin_handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_req = on_h2o_request;
    handler->admin = admin;
    *ret_admin = admin;
    return ERRC_OK;
}

void http_admin_add(struct http_admin *admin, const char *path, const char *method, http_admin_fn *fn, void *data)
{
    ASSERT(admin->fd < 0);
    ASSERT(admin->route_count < ADMIN_ROUTES_MAX);
    ASSERT(path[0] == '/');
    admin->routes[admin->route_count++] = (struct admin_route){ path, method, fn, data };
}

void http_admin_limit(struct http_admin *admin, const struct http_admin_limits *limits)
{
    ASSERT(admin->fd < 0);
    admin->limits.connections = limits->connections != 0 ? limits->connections : ADMIN_CONNECTIONS_MAX;
    admin->limits.reply_ms = limits->reply_ms != 0 ? limits->reply_ms : ADMIN_REPLY_MS;
    admin->limits.close_ms = limits->close_ms != 0 ? limits->close_ms : ADMIN_CLOSE_MS;
}

static void on_start(struct task *task)
{
    struct http_admin *admin = container_of(task, struct http_admin, start);
    uv_loop_t *uv = loop_uv(admin->loop);
    h2o_context_init(&admin->context, uv, &admin->config);
    admin->accept.ctx = &admin->context;
    admin->accept.hosts = admin->config.hosts;
    clock_start(admin);
    int failed = uv_tcp_init(uv, &admin->listener);
    ASSERT(failed == 0);
    admin->listener.data = admin;
    failed = uv_tcp_open(&admin->listener, admin->fd);
    ASSERT(failed == 0);
    failed = uv_listen((uv_stream_t *)&admin->listener, ADMIN_BACKLOG, on_connection);
    ASSERT(failed == 0); /* it listens already */
}

static uint16_t admin_port_of(const struct http_admin *admin)
{
    return ntohs(admin->address.ss_family == AF_INET ? ((const struct sockaddr_in *)&admin->address)->sin_port
                                                     : ((const struct sockaddr_in6 *)&admin->address)->sin6_port);
}

static enum errc admin_bind(struct http_admin *admin, int fd, struct error *e)
{
    int on = 1;
    socklen_t len = sizeof(admin->address);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&admin->address, admin->address_len) != 0 || listen(fd, ADMIN_BACKLOG) != 0) {
        return errno == EADDRINUSE ? error_set(e, ERRC_EXISTS, "the admin port %u is in use", admin_port_of(admin))
                                   : error_set_sys(e, errno, "cannot bind the admin port %u", admin_port_of(admin));
    }
    (void)getsockname(fd, (struct sockaddr *)&admin->address, &len);
    admin->port = admin_port_of(admin);
    return ERRC_OK;
}

enum errc http_admin_start(struct http_admin *admin, struct error *e)
{
    ASSERT(admin->fd < 0);
    int fd = socket(admin->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_set_sys(e, errno, "cannot make a socket");
    }
    enum errc rc = admin_bind(admin, fd, e);
    if (rc != ERRC_OK) {
        (void)close(fd);
        return rc;
    }
    admin->fd = fd;
    admin->listening = true;
    admin->start.run = on_start;
    executor_post(loop_executor(admin->loop), &admin->start);
    return ERRC_OK;
}

uint16_t http_admin_port(const struct http_admin *admin)
{
    return admin->port;
}

/*
 * The end: listener and connections first; then h2o's context, whose timers are closed by the loop some
 * time later; then the clock, in the same round as those; one round on, nothing points here any more.
 */
static void on_closed_task(struct task *task)
{
    struct http_admin *admin = container_of(task, struct http_admin, closed);
    admin->on_closed(admin->on_closed_data);
}

static void on_clock_closed(uv_handle_t *handle)
{
    struct http_admin *admin = handle->data;
    admin->closed.run = on_closed_task;
    executor_post(loop_executor(admin->loop), &admin->closed);
}

static void on_all_closed(struct task *task)
{
    struct http_admin *admin = container_of(task, struct http_admin, closed);
    h2o_context_dispose(&admin->context);
    uv_close((uv_handle_t *)&admin->clock, on_clock_closed);
}

static void admin_check_closed(struct http_admin *admin)
{
    if (admin->closing && !admin->listening && list_empty(&admin->conns)) {
        admin->closed.run = on_all_closed; /* later: h2o may be in the middle of closing a connection */
        executor_post(loop_executor(admin->loop), &admin->closed);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_admin *admin = handle->data;
    admin->listening = false;
    admin_check_closed(admin);
}

void http_admin_close(struct http_admin *admin, void (*on_closed)(void *data), void *data)
{
    ASSERT(loop_is_current(admin->loop));
    ASSERT(!admin->closing);
    admin->closing = true;
    admin->closing_ms = uv_now(loop_uv(admin->loop));
    admin->on_closed = on_closed;
    admin->on_closed_data = data;
    if (admin->fd < 0) { /* its port could not be had: nothing of it is on the loop */
        admin->closed.run = on_closed_task;
        executor_post(loop_executor(admin->loop), &admin->closed);
        return;
    }
    list_for_each(node, &admin->conns) {
        const struct admin_conn *conn = container_of(node, struct admin_conn, node);
        (void)shutdown(h2o_socket_get_fd(conn->sock), SHUT_RD); /* h2o sees the end where it waits for a request */
    }
    uv_close((uv_handle_t *)&admin->listener, on_listener_closed);
}

void http_admin_destroy(struct http_admin *admin)
{
    h2o_config_dispose(&admin->config);
    mem_free(admin);
}
