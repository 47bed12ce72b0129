#include "tools/bench/bench_worker.h"

#include "common/base/assert.h"
#include "common/base/env.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SCRATCH_BYTES (256u << 10)
#define EVENTS_PER_WAIT 64
#define WAIT_MS 200
#define MIX_GET 45u /* of 100; then stat, put, delete */
#define MIX_STAT 75u
#define MIX_PUT 90u

struct worker_state {
    struct bench_worker *worker;
    struct bench_job *job;
    struct bench_connection *connections;
    unsigned active;     /* connections with a request */
    uint64_t random;     /* xorshift state */
    uint64_t *own;       /* mixed: indexes that this worker put and has not deleted */
    size_t own_count, own_room;
    uint8_t *scratch;
    int epoll;
};

static uint64_t random_next(struct worker_state *state)
{
    state->random ^= state->random << 13;
    state->random ^= state->random >> 7;
    state->random ^= state->random << 17;
    return state->random;
}

static void failure_note(struct worker_state *state, const struct bench_request *request, const char *text)
{
    struct bench_result *result = &state->worker->result;
    result->failed++;
    if (result->failure[0] == '\0') {
        (void)snprintf(result->failure, sizeof(result->failure), "%s of object %llu: %s",
                       request->op == BENCH_MAKE_BUCKET ? "make bucket" : bench_op_name(request->op),
                       (unsigned long long)request->object, text);
    }
}

static void own_push(struct worker_state *state, uint64_t object)
{
    if (state->own_count == state->own_room) {
        state->own_room = state->own_room == 0 ? 1024 : 2 * state->own_room;
        state->own = mem_realloc(state->own, state->own_room * sizeof(state->own[0]));
    }
    state->own[state->own_count++] = object;
}

static void mixed_choose(struct worker_state *state, struct bench_request *request)
{
    uint64_t dice = random_next(state) % 100;
    request->object = random_next(state) % state->job->objects;
    if (dice < MIX_GET) {
        request->op = BENCH_GET;
    } else if (dice < MIX_STAT) {
        request->op = BENCH_STAT;
    } else if (dice < MIX_PUT || state->own_count == 0) {
        request->op = BENCH_PUT;
        request->object = atomic_fetch_add(&state->job->next_put, 1);
    } else {
        request->op = BENCH_DELETE;
        request->object = state->own[--state->own_count];
    }
}

/* False: the job is done. */
static bool request_choose(struct worker_state *state, struct bench_request *request)
{
    struct bench_job *job = state->job;
    if (job->deadline_ns != 0 && env_now_ns(env_real()) >= job->deadline_ns) {
        return false;
    }
    uint64_t turn = atomic_fetch_add(&job->next, 1);
    if (job->requests != 0 && turn >= job->requests) {
        return false;
    }
    if (job->op == BENCH_MIXED) {
        mixed_choose(state, request);
        return true;
    }
    request->op = job->op;
    request->object = job->random ? random_next(state) % job->objects : turn;
    return true;
}

static bool is_success(const struct bench_response *response)
{
    if (response->request->op == BENCH_MAKE_BUCKET && response->status == 409) {
        return strstr(response->error, "BucketAlreadyOwnedByYou") != NULL;
    }
    return response->status >= 200 && response->status < 300 && !response->mismatch;
}

static void response_count(struct worker_state *state, struct bench_connection *connection)
{
    const struct bench_response *response = &connection->response;
    struct bench_result *result = &state->worker->result;
    enum bench_op op = connection->request.op;
    uint64_t now_ns = env_now_ns(env_real());
    atomic_store(&state->job->last_ns, now_ns); /* of several workers, any of the last ones will do */
    if (!is_success(response)) {
        char text[BENCH_FAILURE_BYTES];
        (void)snprintf(text, sizeof(text), "status %u %.180s", response->status,
                       response->mismatch ? "with wrong bytes" : response->error);
        failure_note(state, &connection->request, text);
        return;
    }
    if (op < BENCH_OP_COUNT) {
        bench_histogram_add(&result->latency[op], now_ns - connection->start_ns);
        result->ok[op]++;
    }
    if (op == BENCH_PUT && state->job->op == BENCH_MIXED) {
        own_push(state, connection->request.object);
    }
    result->sent_bytes += connection->request.body_bytes;
    result->received_bytes += response->body_bytes;
    result->keys += response->keys;
    atomic_fetch_add(&state->job->done, 1);
    atomic_fetch_add(&state->job->moved_bytes, connection->request.body_bytes + response->body_bytes);
}

/* Begins requests on an idle connection until one has to wait or the job is done. */
static void connection_next(struct worker_state *state, struct bench_connection *connection)
{
    for (;;) {
        if (state->worker->result.failed >= BENCH_FAILURES_MAX || !request_choose(state, &connection->request)) {
            bench_connection_close(connection);
            state->active--;
            return;
        }
        if (bench_request_build(&connection->request, state->job->options, state->job->body) != ERRC_OK) {
            failure_note(state, &connection->request, "the request cannot be built");
            continue;
        }
        if (bench_connection_begin(connection, &state->job->address) == CONNECTION_WAITING) {
            return;
        }
        failure_note(state, &connection->request, connection->failure);
    }
}

static void connection_event(struct worker_state *state, struct bench_connection *connection)
{
    switch (bench_connection_run(connection, state->scratch, SCRATCH_BYTES)) {
    case CONNECTION_WAITING:
        return;
    case CONNECTION_ANSWERED:
        response_count(state, connection);
        break;
    case CONNECTION_FAILED:
        failure_note(state, &connection->request, connection->failure);
        break;
    }
    connection_next(state, connection);
}

static void stalled_fail(struct worker_state *state)
{
    uint64_t now = env_now_ns(env_real());
    for (unsigned i = 0; i < state->worker->connections; i++) {
        struct bench_connection *connection = &state->connections[i];
        if (connection->fd >= 0 && now > connection->last_ns &&
            now - connection->last_ns > BENCH_STALL_MS * 1000000ull) {
            failure_note(state, &connection->request, "no progress for 60 seconds");
            bench_connection_close(connection);
            connection_next(state, connection);
        }
    }
}

static void loop_run(struct worker_state *state)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    uint64_t checked_ns = env_now_ns(env_real());
    while (state->active > 0) {
        int count = epoll_wait(state->epoll, events, EVENTS_PER_WAIT, WAIT_MS);
        ASSERT(count >= 0 || errno == EINTR);
        for (int i = 0; i < count; i++) {
            connection_event(state, events[i].data.ptr);
        }
        uint64_t now = env_now_ns(env_real());
        if (now - checked_ns > 1000000000ull) {
            checked_ns = now;
            stalled_fail(state);
        }
    }
}

void *bench_worker_run(void *data)
{
    struct bench_worker *worker = data;
    struct worker_state state = { .worker = worker, .job = worker->job, .active = worker->connections };
    state.random = 0x2545f4914f6cdd1dull * (worker->index + 1u);
    state.epoll = epoll_create1(EPOLL_CLOEXEC);
    ASSERT(state.epoll >= 0);
    state.scratch = mem_alloc(SCRATCH_BYTES);
    state.connections = mem_zalloc(worker->connections * sizeof(state.connections[0]));
    for (unsigned i = 0; i < worker->connections; i++) {
        bench_connection_init(&state.connections[i], state.epoll, worker->job->body,
                              worker->job->options->verify ? worker->job->body : NULL);
    }
    for (unsigned i = 0; i < worker->connections; i++) {
        connection_next(&state, &state.connections[i]);
    }
    loop_run(&state);
    mem_free(state.connections);
    mem_free(state.scratch);
    mem_free(state.own);
    (void)close(state.epoll);
    return NULL;
}
