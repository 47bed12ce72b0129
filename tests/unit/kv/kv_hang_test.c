/*
 * Goal: maps on disks that hang hold their own background threads only: a map on a sound disk goes on to flush.
 * The disks hang in fdatasync, which this program takes the place of.
 */
#include "common/base/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HUNG_MAPS 3
#define PATH_BYTES 256
#define WAIT_SECONDS 20 /* for what takes milliseconds */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hanging;
static unsigned hung;    /* calls that wait */
static unsigned flushed; /* flushes of sound maps that have ended */

int fdatasync(int fd)
{
    char link[64];
    char path[PATH_MAX] = "";
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    bool ours = readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, "/hung-") != NULL;
    (void)pthread_mutex_lock(&mutex);
    hung += ours && hanging ? 1 : 0;
    (void)pthread_cond_broadcast(&changed);
    while (ours && hanging) {
        (void)pthread_cond_wait(&changed, &mutex);
    }
    (void)pthread_mutex_unlock(&mutex);
    return (int)syscall(SYS_fdatasync, fd);
}

static void hang(bool on)
{
    (void)pthread_mutex_lock(&mutex);
    hanging = on;
    hung = 0;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

/* True once *count has come to `wanted`. */
static bool wait_for(const unsigned *count, unsigned wanted)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_SECONDS;
    (void)pthread_mutex_lock(&mutex);
    int rc = 0;
    while (*count < wanted && rc == 0) {
        rc = pthread_cond_timedwait(&changed, &mutex, &until);
    }
    bool reached = *count >= wanted;
    (void)pthread_mutex_unlock(&mutex);
    return reached;
}

static struct kv *map_open(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    struct kv_options options = { .cache_bytes = 1u << 20, .memtable_bytes = 1u << 20, .create = true };
    struct error e = ERROR_INIT;
    struct kv *kv = NULL;
    assert_int_equal(kv_factory_rocksdb()->open(kv_factory_rocksdb(), path, &options, &kv, &e), ERRC_OK);
    return kv;
}

static void put(struct kv *kv, const char *key)
{
    struct kv_batch *batch = kv->vt->batch_create(kv);
    kv->vt->batch_put(batch, slice_str(key), slice_str("value"));
    assert_int_equal(kv->vt->write(kv, batch, NULL), ERRC_OK);
    kv->vt->batch_destroy(batch);
}

static void *flush_run(void *data)
{
    struct kv *kv = data;
    enum errc rc = kv->vt->flush(kv, NULL);
    (void)pthread_mutex_lock(&mutex);
    flushed += rc == ERRC_OK ? 1 : 0;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
    return NULL;
}

static pthread_t flush_start(struct kv *kv)
{
    pthread_t thread;
    put(kv, "key");
    assert_int_equal(pthread_create(&thread, NULL, flush_run, kv), 0);
    return thread;
}

static void hung_flushes_hold_no_other_map(void **state)
{
    (void)state;
    char dir[] = "/tmp/cairn-kv-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct kv *maps[HUNG_MAPS];
    pthread_t threads[HUNG_MAPS + 1];
    for (unsigned i = 0; i < HUNG_MAPS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "hung-%u", i);
        maps[i] = map_open(dir, name);
    }
    struct kv *sound = map_open(dir, "sound");
    hang(true);
    for (unsigned i = 0; i < HUNG_MAPS; i++) {
        threads[i] = flush_start(maps[i]);
    }
    bool all_hang = wait_for(&hung, HUNG_MAPS); /* each in a thread of its own */
    threads[HUNG_MAPS] = flush_start(sound);
    bool one_flushed = wait_for(&flushed, 1);
    hang(false); /* or a failure would be waited for without end */
    for (unsigned i = 0; i <= HUNG_MAPS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(all_hang);
    assert_true(one_flushed);
    assert_int_equal(flushed, HUNG_MAPS + 1);
    for (unsigned i = 0; i < HUNG_MAPS; i++) {
        maps[i]->vt->close(maps[i]);
    }
    sound->vt->close(sound);
    char command[PATH_BYTES];
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hung_flushes_hold_no_other_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
