#include "gateway/http/http_front.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/http/http_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define LISTEN_BACKLOG 1024

/* ---- listeners ---- */

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0) {
        conn_accept(listener->data, listener);
    }
}

static enum errc parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len,
                               struct error *e)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        *ret_len = sizeof(*in);
    } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        *ret_len = sizeof(*in6);
    } else {
        return error_set(e, ERRC_INVALID, "'%s' is no numeric address", text);
    }
    return ERRC_OK;
}

static enum errc bind_socket(const struct sockaddr_storage *address, socklen_t len, bool shared, int *ret_fd,
                             struct error *e)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_set_sys(e, errno, "cannot make a socket");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* its connections inherit it */
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
        enum errc rc = error_set_sys(e, errno, "cannot share a port between threads");
        (void)close(fd);
        return rc;
    }
    if (bind(fd, (const struct sockaddr *)address, len) != 0) {
        int failed = errno;
        (void)close(fd);
        return failed == EADDRINUSE ? error_set(e, ERRC_EXISTS, "the address is in use")
                                    : error_set_sys(e, failed, "cannot bind");
    }
    *ret_fd = fd;
    return ERRC_OK;
}

/* Another server on the same port would share it silently: a socket that does not share finds it. */
static enum errc probe_address(const struct sockaddr_storage *address, socklen_t len, struct error *e)
{
    int fd;
    enum errc rc = bind_socket(address, len, false, &fd, e);
    if (rc == ERRC_OK) {
        (void)close(fd);
    }
    return rc;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET) {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    }
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    memset(&address, 0, sizeof(address));
    (void)getsockname(fd, (struct sockaddr *)&address, &len);
    return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                              : ((struct sockaddr_in6 *)&address)->sin6_port);
}

/* All sockets of the port, listening. */
static enum errc bind_all(struct http_front *front, int *fds, struct error *e)
{
    struct sockaddr_storage address;
    socklen_t len = 0;
    enum errc rc = parse_address(front->options.address, front->options.port, &address, &len, e);
    if (rc == ERRC_OK && front->options.port != 0) {
        rc = probe_address(&address, len, e);
    }
    size_t count = 0;
    while (rc == ERRC_OK && count < front->loop_count) {
        rc = bind_socket(&address, len, true, &fds[count], e);
        if (rc != ERRC_OK) {
            break;
        }
        count++;
        front->port = bound_port(fds[count - 1]);
        set_port(&address, front->port);
        if (listen(fds[count - 1], LISTEN_BACKLOG) != 0) {
            rc = error_set_sys(e, errno, "cannot listen");
        }
    }
    if (rc != ERRC_OK) {
        while (count > 0) {
            (void)close(fds[--count]);
        }
        return e != NULL ? error_wrap(e, "%s port %u", front->options.address, front->options.port) : rc;
    }
    return ERRC_OK;
}

/* ---- loops ---- */

/* Gives back the input buffers that h2o keeps for this thread: nobody else would when it ends. */
static void input_buffers_trim(void)
{
    h2o_mem_recycle_t *kept = &h2o_socket_buffer_prototype.allocator;
    while (kept->cnt > 0) {
        free(h2o_mem_alloc_recycle(kept, 1)); /* takes a kept one, of whatever size */
    }
}

static void loop_check_drained(struct front_loop *self)
{
    struct http_front *front = self->front;
    if (!self->draining || self->listening || !list_empty(&self->conns) || !list_empty(&self->closing)) {
        return;
    }
    timer_stop(loop_executor(self->loop), &self->tick);
    input_buffers_trim();
    if (atomic_fetch_sub(&front->loops_draining, 1) == 1) {
        front->on_drained(front->on_drained_data); /* may not destroy the front from here */
    }
}

static void loop_close_all(struct front_loop *self)
{
    while (!list_empty(&self->conns)) {
        conn_close(container_of(self->conns.next, struct http_conn, node), true);
    }
    struct list *next;
    for (struct list *node = self->closing.next; node != &self->closing; node = next) {
        next = node->next;
        conn_check_closing(container_of(node, struct http_conn, node), 0, true);
    }
}

static void on_tick(struct task *task)
{
    struct front_loop *self = container_of(task, struct front_loop, tick.task);
    uint64_t now = env_now_ns(self->env);
    struct list *next;
    for (struct list *node = self->conns.next; node != &self->conns; node = next) {
        next = node->next; /* a check closes at most its own connection */
        conn_check_deadline(container_of(node, struct http_conn, node), now);
    }
    for (struct list *node = self->closing.next; node != &self->closing; node = next) {
        next = node->next;
        conn_check_closing(container_of(node, struct http_conn, node), now, false);
    }
    if (self->draining && now >= self->drain_deadline_ns) {
        loop_close_all(self);
    }
    timer_start(loop_executor(self->loop), &self->tick, self->tick_ms);
    loop_check_drained(self);
}

/* On the loop: the socket, which listens already, joins it. */
static void on_start(struct task *task)
{
    struct front_loop *self = container_of(task, struct front_loop, start);
    int failed = uv_tcp_init(loop_uv(self->loop), &self->listener);
    ASSERT(failed == 0);
    failed = uv_tcp_open(&self->listener, self->listener_fd);
    ASSERT(failed == 0);
    failed = uv_listen((uv_stream_t *)&self->listener, LISTEN_BACKLOG, on_connection);
    ASSERT(failed == 0);
    timer_start(loop_executor(self->loop), &self->tick, self->tick_ms);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct front_loop *self = handle->data;
    self->listening = false;
    loop_check_drained(self);
}

static void on_drain(struct task *task)
{
    struct front_loop *self = container_of(task, struct front_loop, drain);
    self->draining = true;
    struct list *next;
    for (struct list *node = self->conns.next; node != &self->conns; node = next) {
        struct http_conn *conn = container_of(node, struct http_conn, node);
        next = node->next;
        if (conn_is_idle(conn)) {
            conn_close(conn, false);
        }
    }
    uv_close((uv_handle_t *)&self->listener, on_listener_closed);
}

/* The shortest deadline is met with an error of about a quarter. */
static uint32_t tick_of(const struct http_front_options *options)
{
    uint32_t shortest = options->head_deadline_ms;
    shortest = options->body_deadline_ms < shortest ? options->body_deadline_ms : shortest;
    shortest = options->idle_deadline_ms < shortest ? options->idle_deadline_ms : shortest;
    shortest = options->drain_deadline_ms < shortest ? options->drain_deadline_ms : shortest;
    return shortest / 4 < 10 ? 10 : shortest / 4 > 250 ? 250 : shortest / 4;
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value != 0 ? value : standard;
}

static void fill_options(struct http_front_options *options)
{
    options->head_deadline_ms = or_default(options->head_deadline_ms, 30000);
    options->body_deadline_ms = or_default(options->body_deadline_ms, 20000);
    options->idle_deadline_ms = or_default(options->idle_deadline_ms, 60000);
    options->drain_bytes_max = or_default(options->drain_bytes_max, 256 * 1024);
    options->drain_deadline_ms = or_default(options->drain_deadline_ms, 2000);
    options->connections_max = or_default(options->connections_max, 20000);
}

static void loop_init(struct front_loop *self, struct http_front *front, unsigned index, struct loop *loop)
{
    self->front = front;
    self->index = index;
    self->loop = loop;
    self->env = front->options.env;
    self->tick_ms = tick_of(&front->options);
    self->tick.task.run = on_tick;
    self->start.run = on_start;
    self->drain.run = on_drain;
    self->listener.data = self;
    self->listening = true;
    list_init(&self->conns);
    list_init(&self->closing);
}

enum errc http_front_start(const struct http_front_options *options, struct http_front **ret_front, struct error *e)
{
    ASSERT(options->loop_count > 0);
    struct http_front *front = mem_zalloc(sizeof(*front));
    front->options = *options;
    front->loop_count = options->loop_count;
    fill_options(&front->options);
    int *fds = mem_alloc(front->loop_count * sizeof(*fds));
    enum errc rc = bind_all(front, fds, e);
    if (rc != ERRC_OK) {
        mem_free(fds);
        mem_free(front);
        return rc;
    }
    front->loops = mem_zalloc(front->loop_count * sizeof(*front->loops));
    for (size_t i = 0; i < front->loop_count; i++) {
        struct front_loop *self = &front->loops[i];
        loop_init(self, front, (unsigned)i, options->loops[i]);
        self->listener_fd = fds[i];
        executor_post(loop_executor(self->loop), &self->start);
    }
    mem_free(fds);
    *ret_front = front;
    return ERRC_OK;
}

uint16_t http_front_port(const struct http_front *front)
{
    return front->port;
}

void http_front_stats(const struct http_front *front, struct http_front_stats *ret)
{
    *ret = (struct http_front_stats){ 0 };
    for (size_t i = 0; i < front->loop_count; i++) {
        const struct front_loop *loop = &front->loops[i];
        ret->connections_open += atomic_load(&loop->open);
        ret->connections_accepted += atomic_load(&loop->accepted);
        ret->connections_refused += atomic_load(&loop->refused);
        ret->requests_started += atomic_load(&loop->started);
        ret->requests_active += atomic_load(&loop->active);
        ret->bad_requests += atomic_load(&loop->bad);
        ret->timeouts += atomic_load(&loop->timeouts);
    }
}

void http_front_drain(struct http_front *front, uint32_t deadline_ms, void (*on_drained)(void *data), void *data)
{
    front->on_drained = on_drained;
    front->on_drained_data = data;
    atomic_store(&front->loops_draining, front->loop_count);
    uint64_t deadline = env_now_ns(front->options.env) + (uint64_t)deadline_ms * 1000000u;
    for (size_t i = 0; i < front->loop_count; i++) {
        front->loops[i].drain_deadline_ns = deadline;
        executor_post(loop_executor(front->loops[i].loop), &front->loops[i].drain);
    }
}

void http_front_destroy(struct http_front *front)
{
    mem_free(front->loops);
    mem_free(front);
}
