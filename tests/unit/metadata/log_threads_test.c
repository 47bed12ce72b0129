/*
 * Goal: the voter on real threads, files and RocksDB: concurrent callers and readers while a mirror leaves and another
 * joins; a restart finds everything. It is also the measurement of metadata/README.md:
 *
 *     LOG_BENCH_SECONDS=10 LOG_BENCH_MIRRORS=3 LOG_BENCH_ROOT=/var/tmp log_threads_test
 *
 * keeps 32 commands of 4 KiB outstanding on folders below LOG_BENCH_ROOT and prints commands and entries per second.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CALLERS 32
#define VALUE_BYTES 4096
#define DIRS_MAX 4
#define COMMANDS_PER_CALLER 150

struct bench;

struct caller {
    struct bench *bench;
    struct rpc_call call;
    struct enc head;
    unsigned number;        /* of this caller */
    unsigned sent;
};

struct bench {
    char root[256];
    char paths[DIRS_MAX][300];
    unsigned dirs, wanted;
    struct env *env;
    struct executor *executor, *query_pool, *home;
    struct voter *voter;
    struct caller callers[CALLERS];
    atomic_uint answered, failed, running;
    atomic_bool stop;
    unsigned per_caller;    /* 0: until stop */
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static struct disk_id disk_of(unsigned i)
{
    struct disk_id id;
    memset(id.bytes, (int)(i + 1), ID_BYTES);
    return id;
}

static void bench_signal(struct bench *bench)
{
    (void)pthread_mutex_lock(&bench->lock);
    (void)pthread_cond_broadcast(&bench->changed);
    (void)pthread_mutex_unlock(&bench->lock);
}

static void bench_init(struct bench *bench, const char *parent, unsigned dirs, unsigned wanted)
{
    memset(bench, 0, sizeof(*bench));
    bench->env = env_real();
    bench->dirs = dirs;
    bench->wanted = wanted;
    (void)pthread_mutex_init(&bench->lock, NULL);
    (void)pthread_cond_init(&bench->changed, NULL);
    (void)snprintf(bench->root, sizeof(bench->root), "%s/cairn-log-XXXXXX", parent);
    assert_non_null(mkdtemp(bench->root));
    for (unsigned i = 0; i < dirs; i++) {
        (void)snprintf(bench->paths[i], sizeof(bench->paths[i]), "%s/d%u", bench->root, i);
        assert_int_equal(mkdir(bench->paths[i], 0700), 0);
    }
    bench->executor = bench->env->vt->executor_create(bench->env, "voter", 1);
    bench->query_pool = bench->env->vt->executor_create(bench->env, "query", 2);
    bench->home = bench->env->vt->executor_create(bench->env, "home", 1);
}

static void bench_open(struct bench *bench, bool bootstrap, uint64_t checkpoint_bytes)
{
    struct voter_dir dirs[DIRS_MAX];
    struct error e = ERROR_INIT;
    for (unsigned i = 0; i < bench->dirs; i++) {
        dirs[i] = (struct voter_dir){ disk_of(i), bench->paths[i] };
    }
    const struct voter_config config = {
        .env = bench->env, .kv_factory = kv_factory_rocksdb(), .executor = bench->executor,
        .query_pool = bench->query_pool, .cluster = { { 9 } }, .dir_count = bench->dirs, .dirs = dirs,
        .mirrors_wanted = bootstrap ? bench->wanted : 0, .bootstrap = bootstrap,
        .checkpoint_log_bytes = checkpoint_bytes,
    };
    if (voter_open(&config, &bench->voter, &e) != ERRC_OK) {
        fail_msg("%s", e.text);
    }
}

static void on_closed(void *data)
{
    struct bench *bench = data;
    (void)pthread_mutex_lock(&bench->lock);
    bench->voter = NULL;
    (void)pthread_cond_broadcast(&bench->changed);
    (void)pthread_mutex_unlock(&bench->lock);
}

static void bench_close(struct bench *bench)
{
    voter_close(bench->voter, on_closed, bench);
    (void)pthread_mutex_lock(&bench->lock);
    while (bench->voter != NULL) {
        (void)pthread_cond_wait(&bench->changed, &bench->lock);
    }
    (void)pthread_mutex_unlock(&bench->lock);
}

static void bench_done(struct bench *bench)
{
    char command[400];
    executor_destroy(bench->executor);
    executor_destroy(bench->query_pool);
    executor_destroy(bench->home);
    (void)pthread_cond_destroy(&bench->changed);
    (void)pthread_mutex_destroy(&bench->lock);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", bench->root);
    assert_int_equal(system(command), 0);
}

/* ---- callers: each sends its next command when the last one is answered ---- */

static void caller_name(const struct caller *caller, unsigned number, char name[32])
{
    (void)snprintf(name, 32, "c%u-%u", caller->number, number);
}

static void on_answer(struct rpc_call *call);

static void caller_send(struct caller *caller)
{
    struct bench *bench = caller->bench;
    static const uint8_t value[VALUE_BYTES];
    struct meta_command command = { .type = META_CMD_SETTING_PUT };
    char name[32];
    if (atomic_load(&bench->stop) || (bench->per_caller > 0 && caller->sent == bench->per_caller)) {
        enc_free(&caller->head);
        if (atomic_fetch_sub(&bench->running, 1) == 1) {
            bench_signal(bench);
        }
        return;
    }
    caller_name(caller, caller->sent++, name);
    command.setting_put.name = slice_str(name);
    command.setting_put.value = slice_of(value, VALUE_BYTES);
    enc_reset(&caller->head);
    meta_command_encode(&caller->head, &command);
    memset(&caller->call, 0, sizeof(caller->call));
    caller->call.method = RPC_META_PROPOSE;
    caller->call.head = enc_slice(&caller->head);
    caller->call.reply_to = bench->home;
    caller->call.done = on_answer;
    rpc_call_start(voter_channel(bench->voter), &caller->call);
}

static void on_answer(struct rpc_call *call)
{
    struct caller *caller = container_of(call, struct caller, call);
    atomic_fetch_add(call->status == ERRC_OK ? &caller->bench->answered : &caller->bench->failed, 1);
    rpc_call_release(call);
    caller_send(caller);
}

static void callers_start(struct bench *bench)
{
    atomic_store(&bench->running, CALLERS);
    for (unsigned i = 0; i < CALLERS; i++) {
        bench->callers[i].bench = bench;
        bench->callers[i].number = i;
        caller_send(&bench->callers[i]);
    }
}

static void callers_wait(struct bench *bench)
{
    (void)pthread_mutex_lock(&bench->lock);
    while (atomic_load(&bench->running) > 0) {
        (void)pthread_cond_wait(&bench->changed, &bench->lock);
    }
    (void)pthread_mutex_unlock(&bench->lock);
}

/* ---- a reader ---- */

struct reader {
    struct bench *bench;
    struct rpc_call call;
    atomic_bool done;
};

static void on_read(struct rpc_call *call)
{
    struct reader *reader = container_of(call, struct reader, call);
    struct bench *bench = reader->bench; /* the reader is gone once done is seen */
    atomic_store(&reader->done, true);
    bench_signal(bench);
}

static bool setting_there(struct bench *bench, const char *name)
{
    struct reader reader = { .bench = bench };
    struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(name) };
    struct enc head = ENC_INIT;
    struct arena arena;
    struct meta_setting_reply reply;
    meta_query_encode(&head, &query);
    reader.call.method = RPC_META_QUERY;
    reader.call.head = enc_slice(&head);
    reader.call.reply_to = bench->home;
    reader.call.done = on_read;
    rpc_call_start(voter_channel(bench->voter), &reader.call);
    (void)pthread_mutex_lock(&bench->lock);
    while (!atomic_load(&reader.done)) {
        (void)pthread_cond_wait(&bench->changed, &bench->lock);
    }
    (void)pthread_mutex_unlock(&bench->lock);
    arena_init(&arena, 1u << 20);
    bool there = reader.call.status == ERRC_OK &&
                 meta_setting_reply_decode(enc_slice(&reader.call.reply), &arena, &reply) == ERRC_OK &&
                 reply.outcome == META_OK && reply.value.len == VALUE_BYTES;
    arena_done(&arena);
    rpc_call_release(&reader.call);
    enc_free(&head);
    return there;
}

static unsigned settings_there(struct bench *bench)
{
    unsigned found = 0;
    char name[32];
    for (unsigned i = 0; i < CALLERS; i++) {
        for (unsigned n = 0; n < bench->callers[i].sent; n++) {
            caller_name(&bench->callers[i], n, name);
            found += setting_there(bench, name) ? 1 : 0;
        }
    }
    return found;
}

static struct voter_status *status_of(struct bench *bench)
{
    static struct voter_status status;
    voter_status(bench->voter, &status);
    return &status;
}

/* The disk leaves and another takes its place: two generations. Reads meanwhile, at most ten seconds. */
static void mirror_exchange(struct bench *bench, unsigned lost)
{
    uint64_t end_ns = env_now_ns(bench->env) + 10000000000u;
    uint64_t generation = status_of(bench)->generation;
    voter_mirror_failed(bench->voter, disk_of(lost), "test");
    do {
        (void)setting_there(bench, "c0-0");
    } while ((status_of(bench)->replicas_behind > 0 || status_of(bench)->generation < generation + 2) &&
             env_now_ns(bench->env) < end_ns);
    assert_true(status_of(bench)->generation >= generation + 2);
    assert_int_equal(status_of(bench)->replicas_behind, 0);
}

static void callers_readers_and_mirrors_at_once(void **state)
{
    (void)state;
    static struct bench bench;
    bench_init(&bench, "/tmp", 4, 2);
    bench.per_caller = COMMANDS_PER_CALLER;
    bench_open(&bench, true, 1u << 20);
    callers_start(&bench);
    mirror_exchange(&bench, 1);
    mirror_exchange(&bench, 0); /* with the store */
    callers_wait(&bench);
    assert_int_equal(atomic_load(&bench.failed), 0);
    assert_int_equal(atomic_load(&bench.answered), CALLERS * COMMANDS_PER_CALLER);
    assert_int_equal(settings_there(&bench), CALLERS * COMMANDS_PER_CALLER);
    bench_close(&bench);
    bench_open(&bench, false, 1u << 20);
    assert_int_equal(settings_there(&bench), CALLERS * COMMANDS_PER_CALLER);
    bench_close(&bench);
    bench_done(&bench);
}

static void measure(unsigned seconds, unsigned mirrors, const char *root)
{
    static struct bench bench;
    static struct voter_status before, after;
    struct timespec pause = { .tv_sec = (time_t)seconds };
    bench_init(&bench, root, mirrors, mirrors);
    bench_open(&bench, true, 0);
    voter_status(bench.voter, &before);
    callers_start(&bench);
    uint64_t began_ns = env_now_ns(bench.env);
    (void)nanosleep(&pause, NULL);
    unsigned answered = atomic_load(&bench.answered);
    double elapsed_s = (double)(env_now_ns(bench.env) - began_ns) / 1e9;
    voter_status(bench.voter, &after);
    atomic_store(&bench.stop, true);
    callers_wait(&bench);
    (void)printf("mirrors=%u callers=%d command_bytes=%d commands_per_s=%.0f entries_per_s=%.0f failed=%u\n", mirrors,
                 CALLERS, VALUE_BYTES, answered / elapsed_s,
                 (double)(after.commit_index - before.commit_index) / elapsed_s, atomic_load(&bench.failed));
    bench_close(&bench);
    bench_done(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_readers_and_mirrors_at_once),
    };
    const char *seconds = getenv("LOG_BENCH_SECONDS");
    const char *mirrors = getenv("LOG_BENCH_MIRRORS");
    const char *root = getenv("LOG_BENCH_ROOT");
    if (seconds != NULL) {
        unsigned count = mirrors != NULL ? (unsigned)strtoul(mirrors, NULL, 10) : 1;
        measure((unsigned)strtoul(seconds, NULL, 10), count < DIRS_MAX ? count : DIRS_MAX, root != NULL ? root : "/var/tmp");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
