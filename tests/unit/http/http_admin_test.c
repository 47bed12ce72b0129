/*
 * The admin port: routes, bodies, late replies, clients that leave, the end.
 */
#include "common/http/http_admin.h"
#include "common/io/loop.h"
#include "tests/unit/http/http_fixture.h"

struct admin_fixture {
    struct loop *loop;
    struct executor *worker;
    struct http_admin *admin;
    struct fixture client; /* only the port */
    sem_t closed;
    struct task close;
    atomic_uint late;
};

struct late_reply {
    struct task task;
    struct admin_fixture *f;
    struct http_admin_request *req;
};

/* libh2o keeps the memory pools of each thread for reuse and has no call that frees them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:h2o_mem_alloc_recycle\n";
}

static void reply_text(struct http_admin_request *req, unsigned status, struct slice text)
{
    http_admin_reply(req, &(struct http_admin_reply){ status, "text/plain", text });
}

static void on_echo(void *data, struct http_admin_request *req)
{
    char text[512];
    struct slice mark = http_admin_header_find(req, "x-mark");
    (void)data;
    int n = snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s|%zu|%.*s", (int)req->method.len, req->method.data,
                     (int)req->path.len, req->path.data, (int)req->query.len, (const char *)req->query.data,
                     (int)req->authority.len, req->authority.data, req->body.len, (int)mark.len,
                     (const char *)mark.data);
    reply_text(req, 200, slice_of(text, (size_t)n));
}

static void late_on_loop(struct task *task)
{
    struct late_reply *late = container_of(task, struct late_reply, task);
    atomic_fetch_add(&late->f->late, 1);
    reply_text(late->req, 200, slice_str("late"));
    mem_free(late);
}

static void late_on_worker(struct task *task)
{
    struct late_reply *late = container_of(task, struct late_reply, task);
    struct timespec pause = { 0, 100000000 };
    (void)nanosleep(&pause, NULL);
    late->task.run = late_on_loop;
    executor_post(late->req->executor, &late->task);
}

static void on_late(void *data, struct http_admin_request *req)
{
    struct admin_fixture *f = data;
    struct late_reply *late = mem_zalloc(sizeof(*late));
    *late = (struct late_reply){ { late_on_worker, NULL }, f, req };
    executor_post(f->worker, &late->task);
}

#define LARGE_BYTES (32u << 20) /* more than the buffers of both kernels' ends */

static void on_large(void *data, struct http_admin_request *req)
{
    uint8_t *bytes = mem_zalloc(LARGE_BYTES);
    (void)data;
    reply_text(req, 200, slice_of(bytes, LARGE_BYTES));
    mem_free(bytes);
}

static int start_with(void **state, struct http_admin_limits limits)
{
    struct admin_fixture *f = mem_zalloc(sizeof(*f));
    struct error e = ERROR_INIT;
    assert_int_equal(loop_create(env_real(), "admin", &f->loop, &e), ERRC_OK);
    assert_int_equal(http_admin_create(f->loop, "127.0.0.1", 0, NULL, &f->admin, &e), ERRC_OK);
    http_admin_add(f->admin, "/echo", "GET", on_echo, f);
    http_admin_add(f->admin, "/echo", "POST", on_echo, f);
    http_admin_add(f->admin, "/below/", "GET", on_echo, f);
    http_admin_add(f->admin, "/late", "GET", on_late, f);
    http_admin_add(f->admin, "/large", "GET", on_large, f);
    http_admin_limit(f->admin, &limits);
    assert_int_equal(http_admin_start(f->admin, &e), ERRC_OK);
    assert_int_equal(loop_start(f->loop, &e), ERRC_OK);
    f->worker = env_real()->vt->executor_create(env_real(), "worker", 1);
    f->client.port = http_admin_port(f->admin);
    assert_int_equal(sem_init(&f->closed, 0, 0), 0);
    *state = f;
    return 0;
}

static int start(void **state)
{
    return start_with(state, (struct http_admin_limits){ 0 });
}

static int start_short(void **state)
{
    return start_with(state, (struct http_admin_limits){ .connections = 3, .reply_ms = 400 });
}

static int start_closing(void **state)
{
    return start_with(state, (struct http_admin_limits){ .close_ms = 400 });
}

static void on_closed(void *data)
{
    struct admin_fixture *f = data;
    (void)sem_post(&f->closed);
}

static void do_close(struct task *task)
{
    struct admin_fixture *f = container_of(task, struct admin_fixture, close);
    http_admin_close(f->admin, on_closed, f);
}

static int stop(void **state)
{
    struct admin_fixture *f = *state;
    f->close.run = do_close;
    executor_post(loop_executor(f->loop), &f->close);
    assert_int_equal(sem_wait(&f->closed), 0);
    executor_destroy(f->worker);
    loop_destroy(f->loop);
    http_admin_destroy(f->admin);
    (void)sem_destroy(&f->closed);
    mem_free(f);
    return 0;
}

static char reply[65536];

static void ask(struct admin_fixture *f, const char *text)
{
    bool eof;
    client_ask(&f->client, text, strlen(text), reply, sizeof(reply), &eof);
}

static void test_routes(void **state)
{
    ask(*state, "GET /echo?a=b HTTP/1.1\r\nHost: h:1\r\nX-Mark: m\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "\r\n\r\nGET|/echo|a=b|h:1|0|m"));
    assert_non_null(strstr(reply, "text/plain\r\n"));
    ask(*state, "GET /below/this/one HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "\r\n\r\nGET|/below/this/one||h|0|"));
    ask(*state, "GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 404"));
    ask(*state, "DELETE /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 405"));
}

static void test_bodies(void **state)
{
    ask(*state, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde");
    assert_non_null(strstr(reply, "\r\n\r\nPOST|/echo||h|5|"));
    ask(*state, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 413"));
}

static void test_late_replies(void **state)
{
    struct admin_fixture *f = *state;
    ask(f, "GET /late HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "\r\n\r\nlate"));
    int fd = client_connect(&f->client); /* leaves before the answer */
    client_say(fd, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
    struct timespec pause = { 0, 30000000 };
    (void)nanosleep(&pause, NULL);
    (void)close(fd);
    pause.tv_nsec = 200000000;
    (void)nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&f->late), 2);
}

static void test_close_ends_idle_connections(void **state)
{
    struct admin_fixture *f = *state;
    int fd = client_connect(&f->client); /* idle while stop() closes: stop() must not wait for it */
    struct timespec pause = { 0, 30000000 };
    (void)nanosleep(&pause, NULL);
    uint64_t begin = now_ms();
    assert_int_equal(stop(state), 0);
    assert_true(now_ms() - begin < 3000);
    (void)close(fd);
}

/* The server has ended the connection, whatever it had sent before. */
static bool is_ended(int fd, int wait_ms)
{
    struct pollfd poll_fd = { .fd = fd, .events = 0 }; /* POLLHUP and POLLERR come unasked */
    return poll(&poll_fd, 1, wait_ms) > 0;
}

static int not_reading(struct admin_fixture *f)
{
    int fd = client_connect(&f->client);
    client_say(fd, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_false(is_ended(fd, 100));
    return fd;
}

static void test_close_resets_who_does_not_read(void **state)
{
    int fd = not_reading(*state);
    uint64_t begin = now_ms();
    assert_int_equal(stop(state), 0);
    assert_in_range(now_ms() - begin, 300, 5000);
    assert_true(is_ended(fd, 0));
    (void)close(fd);
}

static void test_reader_has_its_time(void **state)
{
    struct admin_fixture *f = *state;
    int fd = not_reading(f);
    assert_true(is_ended(fd, 5000));
    (void)close(fd);
    fd = client_connect(&f->client); /* one that reads has all of it, and another answer on the same connection */
    size_t got = 0;
    bool eof = false;
    client_say(fd, "GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    while (got < LARGE_BYTES && !eof) {
        got += client_read(fd, reply, sizeof(reply), 1, 3000, &eof);
    }
    assert_false(is_ended(fd, 1000));
    client_say(fd, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    do {
        got = client_read(fd, reply, sizeof(reply), sizeof(reply), 1000, &eof);
    } while (!eof && got > 0);
    assert_non_null(strstr(reply, "GET|/echo|"));
    (void)close(fd);
}

static void test_connections_are_counted(void **state)
{
    struct admin_fixture *f = *state;
    int fds[4];
    for (unsigned i = 0; i < 4; i++) {
        fds[i] = client_connect(&f->client);
    }
    bool eof = false;
    assert_int_equal(client_read(fds[3], reply, sizeof(reply), 1, 3000, &eof), 0);
    assert_true(eof);
    (void)close(fds[0]);
    struct timespec pause = { 0, 50000000 };
    (void)nanosleep(&pause, NULL);
    ask(f, "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); /* its place is free */
    assert_non_null(strstr(reply, "HTTP/1.1 200"));
    for (unsigned i = 1; i < 4; i++) {
        (void)close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, start, stop),
        cmocka_unit_test_setup_teardown(test_bodies, start, stop),
        cmocka_unit_test_setup_teardown(test_late_replies, start, stop),
        cmocka_unit_test_setup(test_close_ends_idle_connections, start),
        cmocka_unit_test_setup(test_close_resets_who_does_not_read, start_closing),
        cmocka_unit_test_setup_teardown(test_reader_has_its_time, start_short, stop),
        cmocka_unit_test_setup_teardown(test_connections_are_counted, start_short, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
