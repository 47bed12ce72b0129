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

static int start(void **state)
{
    struct admin_fixture *f = mem_zalloc(sizeof(*f));
    struct error e = ERROR_INIT;
    assert_int_equal(loop_create(env_real(), "admin", &f->loop, &e), ERRC_OK);
    assert_int_equal(http_admin_create(f->loop, "127.0.0.1", 0, NULL, &f->admin, &e), ERRC_OK);
    http_admin_add(f->admin, "/echo", "GET", on_echo, f);
    http_admin_add(f->admin, "/echo", "POST", on_echo, f);
    http_admin_add(f->admin, "/below/", "GET", on_echo, f);
    http_admin_add(f->admin, "/late", "GET", on_late, f);
    assert_int_equal(http_admin_start(f->admin, &e), ERRC_OK);
    assert_int_equal(loop_start(f->loop, &e), ERRC_OK);
    f->worker = env_real()->vt->executor_create(env_real(), "worker", 1);
    f->client.port = http_admin_port(f->admin);
    assert_int_equal(sem_init(&f->closed, 0, 0), 0);
    *state = f;
    return 0;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, start, stop),
        cmocka_unit_test_setup_teardown(test_bodies, start, stop),
        cmocka_unit_test_setup_teardown(test_late_replies, start, stop),
        cmocka_unit_test_setup(test_close_ends_idle_connections, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
