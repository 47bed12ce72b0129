/*
 * Goal: callers that each start their next call when the last was answered are all served, small and bulk calls
 * mixed. With RPC_SPEED=1 it is a measurement: larger counts, figures on standard output (common/rpc/README.md).
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "tests/lib/wire_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

struct speed {
    struct wire_world world;
    struct tls_context *tls;
    struct rpc_client *client;
    uint16_t method;
    const char *head;
    struct buffer *payload; /* NULL: none */
    unsigned left;          /* calls not started; the client loop's */
    unsigned running;
    unsigned failed;
    sem_t done;
};

struct caller {
    struct rpc_call call;
    struct task start;
    struct speed *speed;
};

static void caller_next(struct caller *caller);

static void on_answer(struct rpc_call *call)
{
    struct caller *caller = container_of(call, struct caller, call);
    caller->speed->failed += call->status != ERRC_OK ? 1 : 0;
    rpc_call_release(call);
    caller_next(caller);
}

static void caller_next(struct caller *caller)
{
    struct speed *speed = caller->speed;
    if (speed->left == 0) {
        if (--speed->running == 0) {
            (void)sem_post(&speed->done);
        }
        return;
    }
    speed->left--;
    caller->call = (struct rpc_call){
        .method = speed->method,
        .head = slice_str(speed->head),
        .reply_to = loop_executor(speed->world.client_loop),
        .done = on_answer,
        .deadline_ns = env_now_ns(env_real()) + UINT64_C(60000000000),
    };
    if (speed->payload != NULL) {
        caller->call.payloads[0] = speed->payload;
        caller->call.payload_count = 1;
    }
    rpc_call_start(rpc_client_channel(speed->client), &caller->call);
}

static void on_start(struct task *task)
{
    caller_next(container_of(task, struct caller, start));
}

static double cpu_s(void)
{
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void run(struct speed *speed, const char *what, unsigned callers, unsigned calls, size_t bytes)
{
    struct caller *all = mem_zalloc(callers * sizeof(*all));
    speed->left = calls;
    speed->running = callers;
    (void)sem_init(&speed->done, 0, 0);
    double cpu = cpu_s();
    uint64_t start = env_now_ns(env_real());
    for (unsigned i = 0; i < callers; i++) {
        all[i].speed = speed;
        all[i].start.run = on_start;
        executor_post(loop_executor(speed->world.client_loop), &all[i].start);
    }
    (void)sem_wait(&speed->done);
    double seconds = (double)(env_now_ns(env_real()) - start) / 1e9;
    cpu = cpu_s() - cpu;
    (void)sem_destroy(&speed->done);
    assert_int_equal(speed->failed, 0);
    if (getenv("RPC_SPEED") != NULL) {
        (void)printf("%-28s %3u callers: %8.0f calls/s %8.1f MiB/s, %6.1f us CPU a call (both sides)\n", what, callers,
                     calls / seconds, (double)calls * (double)bytes / seconds / 1048576.0, cpu * 1e6 / calls);
    }
    mem_free(all);
}

static void measure(void **state)
{
    (void)state;
    unsigned times = getenv("RPC_SPEED") != NULL ? 50 : 1;
    struct speed *speed = mem_zalloc(sizeof(*speed));
    wire_world_open(&speed->world, ROLE_STORAGE_NODE, NULL);
    speed->tls = wire_context(&speed->world.ca, ROLE_GATEWAY, 7, -10, 3600);
    struct rpc_client_config config = wire_client_config(&speed->world, speed->tls, 7);
    speed->client = rpc_client_create(&config);
    struct buffer *large = buffer_new(1u << 20);
    large->len = 1u << 20;
    memset(large->data, 'x', large->len);
    speed->world.reply_bytes = 1u << 20;

    speed->method = RPC_NODE_SHARD_STAT;
    speed->head = "echo: a head of a usual size, which is about one hundred bytes for a shard's name and its ranges";
    run(speed, "small", 1, 200 * times, 0);
    run(speed, "small", 64, 2000 * times, 0);
    speed->method = RPC_NODE_SHARD_READ;
    speed->head = "grow";
    run(speed, "1 MiB to the client", 1, 20 * times, 1u << 20);
    run(speed, "1 MiB to the client", 16, 40 * times, 1u << 20);
    speed->method = RPC_NODE_SHARD_WRITE;
    speed->payload = large;
    speed->head = "echo";
    run(speed, "1 MiB there and back", 16, 20 * times, 2u << 20);

    buffer_unref(large);
    wire_client_destroy(speed->client);
    wire_world_close(&speed->world);
    tls_context_destroy(speed->tls);
    mem_free(speed);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(measure) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
