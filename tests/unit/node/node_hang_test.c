/*
 * Goal: a disk that hangs is noticed whatever it hangs in, file or index; one that is merely slow is not fenced; one that
 * comes into service late is scrubbed.
 */
#include "common/base/kv.h"
#include "tests/lib/env_fault.h"
#include "tests/lib/node_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define HANG_MS 600
#define SLOW_NAMES 1000 /* NODE_FREE_MAX at most, */
#define SLOW_MS 2       /* each: together more than HANG_MS */
#define WAIT_MS 20000

static const struct kv_vt *inner_vt;
static atomic_bool write_hangs, get_is_slow, flush_hangs;
static atomic_bool in_call; /* a call hangs */

static void pause_ms(long ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    (void)nanosleep(&pause, NULL);
}

static void hang_while(atomic_bool *flag)
{
    while (atomic_load(flag)) {
        atomic_store(&in_call, true);
        pause_ms(1);
    }
}

static enum errc write_hook(struct kv *kv, struct kv_batch *batch, struct error *e)
{
    hang_while(&write_hangs);
    return inner_vt->write(kv, batch, e);
}

static enum errc get_hook(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value, struct error *e)
{
    if (atomic_load(&get_is_slow) && !cached_only) {
        pause_ms(SLOW_MS);
    }
    return inner_vt->get(kv, key, cached_only, ret_value, e);
}

static enum errc flush_hook(struct kv *kv, struct error *e)
{
    hang_while(&flush_hangs);
    return inner_vt->flush(kv, e);
}

static enum errc hook_open(struct kv_factory *factory, const char *path, const struct kv_options *options,
                           struct kv **ret_kv, struct error *e)
{
    static struct kv_vt hooked;
    (void)factory;
    enum errc rc = kv_factory_rocksdb()->open(kv_factory_rocksdb(), path, options, ret_kv, e);
    if (rc == ERRC_OK) {
        inner_vt = (*ret_kv)->vt;
        hooked = *inner_vt;
        hooked.write = write_hook;
        hooked.get = get_hook;
        hooked.flush = flush_hook;
        (*ret_kv)->vt = &hooked;
    }
    return rc;
}

static enum errc hook_destroy(struct kv_factory *factory, const char *path, struct error *e)
{
    (void)factory;
    return kv_factory_rocksdb()->destroy(kv_factory_rocksdb(), path, e);
}

static struct kv_factory hook_factory = { .open = hook_open, .destroy = hook_destroy };

struct hang {
    struct node_fixture f;
    struct env_fault fault;
    void (*work)(struct node_fixture *f);
};

static void hang_init(struct hang *h)
{
    env_fault_init(&h->fault, env_real(), "/dev/shm/cairn-node-");
    node_fixture_init(&h->f, "/dev/shm", &h->fault.env);
    h->f.options.hang_ms = HANG_MS;
    h->f.options.segment_bytes = 256u << 10;
    h->f.kv_factory = &hook_factory;
}

static bool state_comes(struct node_fixture *f, enum disk_state state)
{
    for (unsigned i = 0; i < WAIT_MS && node_disk_state(f->client.node, f->client.disk) != state; i++) {
        pause_ms(1);
    }
    return node_disk_state(f->client.node, f->client.disk) == state;
}

static struct test_shard shard_of(uint64_t id)
{
    return (struct test_shard){ .id = id, .bytes = 60000, .cell_bytes = 64 << 10 };
}

/* Two segments' worth: whatever hangs, is reached. What is answered, does not matter. */
static void work_puts(struct node_fixture *f)
{
    for (uint64_t id = 100; id < 108; id++) {
        struct test_shard shard = shard_of(id);
        (void)node_client_put(&f->client, &shard);
    }
}

static void work_stream(struct node_fixture *f)
{
    struct test_shard shard = { .id = 200, .bytes = 300000, .cell_bytes = 64 << 10 };
    (void)node_client_stream(&f->client, &shard, 2);
}

static void work_read(struct node_fixture *f)
{
    struct test_shard shard = shard_of(1);
    (void)node_client_read(&f->client, &shard);
}

static void work_nothing(struct node_fixture *f)
{
    (void)f;
}

static void *work_run(void *data)
{
    struct hang *h = data;
    h->work(&h->f);
    return NULL;
}

/* Runs the work, which hangs in the call; true if the disk was fenced for it while it still hung. */
static bool fenced_while_hanging(enum fault_kind kind, void (*work)(struct node_fixture *f))
{
    struct hang h = { .work = work };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    struct test_shard shard = shard_of(1);
    assert_int_equal(node_client_put(&h.f.client, &shard), ERRC_OK);
    pthread_t thread;
    env_fault_hang(&h.fault, kind, 1);
    assert_int_equal(pthread_create(&thread, NULL, work_run, &h), 0);
    bool fenced = state_comes(&h.f, DISK_FENCED);
    bool hung = atomic_load(&h.fault.failed) > 0;
    env_fault_disarm(&h.fault);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hung);
    node_fixture_stop(&h.f);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    assert_int_equal(node_client_read(&h.f.client, &shard), ERRC_OK);
    node_fixture_done(&h.f);
    return fenced;
}

static void a_hang_in_any_file_call_fences(void **state)
{
    (void)state;
    assert_true(fenced_while_hanging(FAULT_PWRITE, work_puts));
    assert_true(fenced_while_hanging(FAULT_FDATASYNC, work_puts));
    assert_true(fenced_while_hanging(FAULT_FALLOCATE, work_puts)); /* a new segment of the log */
    assert_true(fenced_while_hanging(FAULT_FSYNC_DIR, work_puts));
    assert_true(fenced_while_hanging(FAULT_FALLOCATE, work_stream)); /* and of data */
    assert_true(fenced_while_hanging(FAULT_PREAD, work_read));
    assert_true(fenced_while_hanging(FAULT_SPACE, work_nothing)); /* the check of each second */
}

static void a_hang_in_the_index_fences(void **state)
{
    (void)state;
    struct hang h = { .work = work_puts };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    pthread_t thread;
    atomic_store(&in_call, false);
    atomic_store(&write_hangs, true);
    assert_int_equal(pthread_create(&thread, NULL, work_run, &h), 0);
    bool fenced = state_comes(&h.f, DISK_FENCED);
    bool hung = atomic_load(&in_call);
    atomic_store(&write_hangs, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(hung);
    assert_true(fenced);
    node_fixture_done(&h.f);
}

/* A dead segment of the log asks for a flush of the index. */
static void a_hang_in_a_flush_of_the_index_fences(void **state)
{
    (void)state;
    struct hang h = { .work = work_nothing };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    work_puts(&h.f);
    atomic_store(&in_call, false);
    atomic_store(&flush_hangs, true);
    uint64_t ids[] = { 100, 101, 102, 103, 104, 105, 106, 107 };
    assert_int_equal(node_client_free(&h.f.client, ids, 8), ERRC_OK);
    bool fenced = state_comes(&h.f, DISK_FENCED);
    bool hung = atomic_load(&in_call);
    atomic_store(&flush_hangs, false);
    assert_true(hung);
    assert_true(fenced);
    node_fixture_done(&h.f);
}

/* One operation of many short calls. */
static void a_long_operation_is_no_hang(void **state)
{
    (void)state;
    struct hang h = { .work = work_nothing };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    uint64_t ids[SLOW_NAMES];
    for (unsigned i = 0; i < SLOW_NAMES; i++) {
        ids[i] = 1000 + i;
    }
    atomic_store(&get_is_slow, true);
    uint64_t begin_ns = env_now_ns(env_real());
    for (unsigned i = 0; i < 2; i++) { /* long enough for the watch to look */
        assert_int_equal(node_client_free(&h.f.client, ids, SLOW_NAMES), ERRC_OK);
    }
    uint64_t took_ms = (env_now_ns(env_real()) - begin_ns) / 1000000;
    atomic_store(&get_is_slow, false);
    assert_true(took_ms > 2 * HANG_MS);
    assert_int_equal(node_disk_state(h.f.client.node, h.f.client.disk), DISK_ONLINE);
    node_fixture_done(&h.f);
}

static void on_closed(void *data)
{
    atomic_store((atomic_bool *)data, true);
}

/* Nothing can end the call; but somebody must say what is waited for. */
static void a_disk_that_hangs_while_closing_is_named(void **state)
{
    (void)state;
    struct hang h = { .work = work_nothing };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    work_puts(&h.f);
    atomic_bool closed = false;
    atomic_store(&in_call, false);
    atomic_store(&flush_hangs, true);
    atomic_store(&h.f.client.state, 0);
    node_close(h.f.client.node, on_closed, &closed);
    for (unsigned i = 0; i < WAIT_MS && atomic_load(&h.f.client.state) == 0; i++) {
        pause_ms(1);
    }
    bool is_closed = atomic_load(&closed);
    int told = atomic_load(&h.f.client.state);
    atomic_store(&flush_hangs, false);
    node_client_wait_thread(&h.f.client, &closed);
    h.f.client.node = NULL;
    assert_true(atomic_load(&in_call));
    assert_int_equal(told, DISK_FENCED);
    assert_false(is_closed);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    struct test_shard shard = shard_of(100);
    assert_int_equal(node_client_read(&h.f.client, &shard), ERRC_OK);
    node_fixture_done(&h.f);
}

static void a_disk_that_opens_late_is_scrubbed(void **state)
{
    (void)state;
    struct hang h = { .work = work_nothing };
    hang_init(&h);
    assert_int_equal(node_fixture_start(&h.f), DISK_ONLINE);
    struct test_shard shard = shard_of(1);
    assert_int_equal(node_client_put(&h.f.client, &shard), ERRC_OK);
    node_fixture_stop(&h.f);
    env_fault_hang(&h.fault, FAULT_SPACE, 1);
    node_fixture_begin(&h.f);
    for (unsigned i = 0; i < WAIT_MS && atomic_load(&h.fault.failed) == 0; i++) {
        pause_ms(1);
    }
    assert_int_equal(node_scrub_start(h.f.client.node, h.f.client.disk, 100u << 20), ERRC_OK);
    pause_ms(20); /* its executor has taken note, and found the disk not open */
    env_fault_disarm(&h.fault);
    assert_int_equal(node_client_wait_state(&h.f.client), DISK_ONLINE);
    for (unsigned i = 0; i < WAIT_MS && node_client_status(&h.f.client).scrub_age_ms == UINT64_MAX; i++) {
        pause_ms(1);
    }
    assert_true(node_client_status(&h.f.client).scrub_age_ms != UINT64_MAX); /* a pass has ended */
    node_fixture_done(&h.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hang_in_any_file_call_fences),
        cmocka_unit_test(a_hang_in_the_index_fences),
        cmocka_unit_test(a_hang_in_a_flush_of_the_index_fences),
        cmocka_unit_test(a_long_operation_is_no_hang),
        cmocka_unit_test(a_disk_that_hangs_while_closing_is_named),
        cmocka_unit_test(a_disk_that_opens_late_is_scrubbed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
