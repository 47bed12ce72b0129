/*
 * Goal: what was acknowledged is there after a restart and after a crash, what was freed is not, and no
 * damage to the files passes unnoticed. Real files, real threads; a crash is a copy of the folder taken
 * while the node runs (the kernel's cache is then what a disk with all writes done would hold).
 */
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "tests/lib/node_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct test_shard small(uint64_t id)
{
    return (struct test_shard){ .id = id, .bytes = (uint32_t)(100 + 3700 * (id % 7)), .cell_bytes = 4096 };
}

static struct test_shard large(uint64_t id)
{
    return (struct test_shard){ .id = id, .bytes = 700000 + (uint32_t)id, .cell_bytes = 128 << 10 };
}

static void puts_small(struct node_fixture *f, uint64_t first, uint64_t count)
{
    for (uint64_t id = first; id < first + count; id++) {
        struct test_shard shard = small(id);
        assert_int_equal(node_client_put(&f->client, &shard), ERRC_OK);
    }
}

static void reads_small(struct node_fixture *f, uint64_t first, uint64_t count, enum errc expected)
{
    for (uint64_t id = first; id < first + count; id++) {
        struct test_shard shard = small(id);
        assert_int_equal(node_client_read(&f->client, &shard), expected);
    }
}

static void a_shard_is_read_back_until_it_is_freed(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 40);
    reads_small(&f, 1, 40, ERRC_OK);
    struct test_shard again = small(5);
    assert_int_equal(node_client_put(&f.client, &again), ERRC_OK); /* the same bytes */
    struct test_shard other = { .id = 5, .bytes = 64, .cell_bytes = 64 };
    assert_int_equal(node_client_put(&f.client, &other), ERRC_EXISTS);
    assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_STAT, 5), ERRC_OK);
    assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_VERIFY, 5), ERRC_OK);
    uint64_t ids[] = { 3, 4, 3, 999 };
    assert_int_equal(node_client_free(&f.client, ids, 4), ERRC_OK);
    reads_small(&f, 3, 2, ERRC_NOT_FOUND);
    reads_small(&f, 5, 30, ERRC_OK);
    assert_int_equal(node_client_list(&f.client), 38);
    assert_int_equal(node_client_status(&f.client).shard_count, 38);
    node_fixture_stop(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 3, 2, ERRC_NOT_FOUND);
    reads_small(&f, 5, 30, ERRC_OK);
    assert_int_equal(node_client_status(&f.client).shard_count, 38);
    node_fixture_done(&f);
}

static void a_large_shard_is_streamed(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/var/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= 6; id++) {
        struct test_shard shard = large(id);
        assert_int_equal(node_client_stream(&f.client, &shard, (uint32_t)(1 + id % 3)), ERRC_OK);
        assert_int_equal(node_client_read(&f.client, &shard), ERRC_OK);
        assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_VERIFY, id), ERRC_OK);
    }
    struct test_shard unaligned = { .id = 9, .bytes = 300001, .cell_bytes = 1000 * 64 };
    assert_int_equal(node_client_stream(&f.client, &unaligned, 2), ERRC_OK);
    assert_int_equal(node_client_read(&f.client, &unaligned), ERRC_OK);
    uint64_t ids[] = { 1, 2 };
    assert_int_equal(node_client_free(&f.client, ids, 2), ERRC_OK);
    node_fixture_crash_copy(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= 6; id++) {
        struct test_shard shard = large(id);
        assert_int_equal(node_client_read(&f.client, &shard), id <= 2 ? ERRC_NOT_FOUND : ERRC_OK);
    }
    assert_int_equal(node_client_read(&f.client, &unaligned), ERRC_OK);
    node_fixture_done(&f);
}

static bool segment_file(const struct node_fixture *f, unsigned n, char *path, size_t path_bytes);

static uint64_t segment_bytes_allocated(const struct node_fixture *f)
{
    char path[256];
    uint64_t bytes = 0;
    for (unsigned n = 0; segment_file(f, n, path, sizeof(path)); n++) {
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

/* Two of these do not fit into one segment: what was preallocated for it and stays free goes back. */
static void the_free_end_of_a_data_segment_is_given_back(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/var/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= 10; id++) {
        struct test_shard shard = large(id);
        assert_int_equal(node_client_stream(&f.client, &shard, 2), ERRC_OK);
    }
    /* one of data and one of the log are open */
    assert_true(segment_bytes_allocated(&f) < 10 * 720000 + 2 * (1u << 20));
    node_fixture_stop(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (unsigned i = 0; i < 50 && segment_bytes_allocated(&f) >= 10 * 740000; i++) {
        struct timespec pause = { .tv_nsec = 100000000 };
        (void)nanosleep(&pause, NULL);
    }
    assert_true(segment_bytes_allocated(&f) < 10 * 740000);
    for (uint64_t id = 1; id <= 10; id++) {
        struct test_shard shard = large(id);
        assert_int_equal(node_client_read(&f.client, &shard), ERRC_OK);
    }
    node_fixture_done(&f);
}

static void a_crash_loses_nothing_acknowledged(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 200); /* several segments */
    uint64_t ids[] = { 7, 70, 170 };
    assert_int_equal(node_client_free(&f.client, ids, 3), ERRC_OK);
    for (unsigned round = 0; round < 3; round++) {
        node_fixture_crash_copy(&f);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
        for (uint64_t id = 1; id <= 200 + round; id++) {
            struct test_shard shard = small(id);
            bool freed = id == 7 || id == 70 || id == 170;
            assert_int_equal(node_client_read(&f.client, &shard), freed ? ERRC_NOT_FOUND : ERRC_OK);
        }
        puts_small(&f, 201 + round, 1);
    }
    assert_int_equal(node_client_status(&f.client).shard_count, 200);
    assert_int_equal(atomic_load(&f.client.corrupt_count), 0);
    node_fixture_done(&f);
}

/* ---- damage ---- */

/* Path of the n-th segment file in order of numbers; false past the end. */
static bool segment_file(const struct node_fixture *f, unsigned n, char *path, size_t path_bytes)
{
    char folder[200];
    (void)snprintf(folder, sizeof(folder), "%s/segments", f->dir);
    struct dirent **names = NULL;
    int count = scandir(folder, &names, NULL, alphasort);
    assert_true(count >= 2);
    bool found = (int)n + 2 < count;
    if (found) {
        int len = snprintf(path, path_bytes, "%s/%s", folder, names[n + 2]->d_name);
        assert_true(len > 0 && (size_t)len < path_bytes);
    }
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    return found;
}

/* First and end offset of the last non-zero bytes before the trailing seal, by scanning for "NFRM". */
static unsigned frame_offsets(const char *path, uint64_t *offsets, unsigned max, uint64_t *ret_size)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    struct stat stat;
    assert_int_equal(fstat(fd, &stat), 0);
    *ret_size = (uint64_t)stat.st_size;
    unsigned count = 0;
    for (off_t at = 4096; at + 512 <= stat.st_size && count < max; at += 512) {
        char magic[4];
        assert_int_equal(pread(fd, magic, 4, at), 4);
        if (memcmp(magic, "NFRM", 4) == 0) {
            offsets[count++] = (uint64_t)at;
        }
    }
    (void)close(fd);
    return count;
}

static void zero_from(const char *path, uint64_t from, uint64_t to)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t *zeros = calloc(1, to - from);
    assert_non_null(zeros);
    assert_int_equal(pwrite(fd, zeros, to - from, (off_t)from), (ssize_t)(to - from));
    free(zeros);
    (void)close(fd);
}

static void flip(const char *path, uint64_t offset)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    (void)close(fd);
}

/* The last frame cut at every sector: the shards before it are there, and the disk starts. */
static void a_torn_tail_is_no_damage(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    struct test_shard last = { .id = 100, .bytes = 6000, .cell_bytes = 4096 };
    puts_small(&f, 1, 5);
    assert_int_equal(node_client_put(&f.client, &last), ERRC_OK);
    char keep[200];
    char command[600];
    (void)snprintf(keep, sizeof(keep), "%s/keep", f.root);
    (void)snprintf(command, sizeof(command), "cp -a %s %s", f.dir, keep);
    assert_int_equal(system(command), 0);
    node_fixture_stop(&f);
    for (uint64_t cut = 0; cut <= 6500; cut += 512) {
        (void)snprintf(command, sizeof(command), "rm -rf %s && cp -a %s %s", f.dir, keep, f.dir);
        assert_int_equal(system(command), 0);
        char path[256];
        uint64_t offsets[64];
        uint64_t size = 0;
        assert_true(segment_file(&f, 0, path, sizeof(path)));
        unsigned frames = frame_offsets(path, offsets, 64, &size);
        assert_int_equal(frames, 6);
        zero_from(path, offsets[5] + cut, size);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
        reads_small(&f, 1, 5, ERRC_OK);
        enum errc rc = node_client_read(&f.client, &last);
        assert_true(rc == ERRC_NOT_FOUND || (rc == ERRC_OK && cut >= 6000));
        assert_int_equal(atomic_load(&f.client.corrupt_count), 0);
        puts_small(&f, 50, 1);
        node_fixture_stop(&f);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
        reads_small(&f, 1, 5, ERRC_OK);
        reads_small(&f, 50, 1, ERRC_OK);
        node_fixture_stop(&f);
    }
    node_fixture_done(&f);
}

/* A bit in any frame but the last: later shards stay, the damaged one is CORRUPT or the disk says so. */
static void a_flipped_bit_in_the_log_is_noticed(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/dev/shm", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 6);
    char keep[200];
    char command[600];
    (void)snprintf(keep, sizeof(keep), "%s/keep", f.root);
    (void)snprintf(command, sizeof(command), "cp -a %s %s", f.dir, keep);
    assert_int_equal(system(command), 0);
    node_fixture_stop(&f);
    for (uint64_t at = 0; at < 3900; at += at < 300 ? 13 : 407) { /* into the second shard's frame */
        (void)snprintf(command, sizeof(command), "rm -rf %s && cp -a %s %s", f.dir, keep, f.dir);
        assert_int_equal(system(command), 0);
        char path[256];
        uint64_t offsets[64];
        uint64_t size = 0;
        assert_true(segment_file(&f, 0, path, sizeof(path)));
        assert_int_equal(frame_offsets(path, offsets, 64, &size), 6);
        flip(path, offsets[1] + at);
        atomic_store(&f.client.corrupt_count, 0);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
        reads_small(&f, 1, 1, ERRC_OK);
        reads_small(&f, 3, 4, ERRC_OK);
        struct test_shard damaged = small(2);
        enum errc rc = node_client_read(&f.client, &damaged);
        if (rc != ERRC_OK) { /* a bit of the padding harms nobody */
            assert_true(rc == ERRC_CORRUPT || rc == ERRC_NOT_FOUND);
            assert_true(atomic_load(&f.client.corrupt_count) > 0);
        }
        node_fixture_stop(&f);
    }
    node_fixture_done(&f);
}

static void a_flipped_bit_under_an_indexed_shard_is_noticed(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 6);
    struct test_shard big = large(30);
    assert_int_equal(node_client_stream(&f.client, &big, 2), ERRC_OK);
    node_fixture_stop(&f); /* the index is flushed: nothing is replayed */
    char path[256];
    uint64_t offsets[64];
    uint64_t size = 0;
    assert_true(segment_file(&f, 0, path, sizeof(path)));
    assert_true(frame_offsets(path, offsets, 64, &size) >= 6);
    flip(path, offsets[3] + 64 + 96 + 50);
    assert_true(segment_file(&f, 1, path, sizeof(path)));
    flip(path, 4096 + 300000);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 4, 1, ERRC_CORRUPT);
    reads_small(&f, 1, 3, ERRC_OK);
    reads_small(&f, 5, 2, ERRC_OK);
    assert_int_equal(node_client_read(&f.client, &big), ERRC_CORRUPT);
    assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_VERIFY, 30), ERRC_CORRUPT);
    assert_true(atomic_load(&f.client.corrupt_count) >= 3);
    node_fixture_done(&f);
}

static void a_lost_index_is_rebuilt_from_the_log(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 60);
    struct test_shard big = large(100);
    assert_int_equal(node_client_stream(&f.client, &big, 2), ERRC_OK);
    uint64_t ids[] = { 10, 20 };
    assert_int_equal(node_client_free(&f.client, ids, 2), ERRC_OK);
    node_fixture_stop(&f);
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf %s/index", f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 10, 1, ERRC_NOT_FOUND);
    reads_small(&f, 20, 1, ERRC_NOT_FOUND);
    reads_small(&f, 1, 9, ERRC_OK);
    reads_small(&f, 21, 40, ERRC_OK);
    assert_int_equal(node_client_read(&f.client, &big), ERRC_OK);
    assert_int_equal(node_client_status(&f.client).shard_count, 59);
    node_fixture_done(&f);
}

/* A bit in the index' tables: fenced at worst, and whole again after a restart. Never wrong bytes. */
static void a_damaged_index_is_rebuilt_at_the_next_start(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 60);
    node_fixture_stop(&f);
    char command[600];
    (void)snprintf(command, sizeof(command),
                   "for t in %s/index/*.sst; do printf '\\377\\377\\377' | "
                   "dd of=$t bs=1 seek=40 conv=notrunc status=none; done", f.dir);
    assert_int_equal(system(command), 0);
    if (node_fixture_start(&f) != DISK_FENCED) {
        struct test_shard shard = small(1);
        assert_int_equal(node_client_read(&f.client, &shard), ERRC_CORRUPT);
        assert_int_equal(node_disk_state(f.client.node, f.client.disk), DISK_FENCED);
    }
    node_fixture_stop(&f);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 1, 60, ERRC_OK);
    assert_int_equal(node_client_status(&f.client).shard_count, 60);
    node_fixture_done(&f);
}

static void shell_in(const struct node_fixture *f, const char *what)
{
    char command[600];
    (void)snprintf(command, sizeof(command), "cd %s && %s", f->dir, what);
    assert_int_equal(system(command), 0);
}

/* Whichever file of the index is gone: the log has all of it. */
static void an_index_that_lacks_a_file_is_rebuilt(void **state)
{
    (void)state;
    const char *removes[] = { "rm index/MANIFEST-*", "rm index/CURRENT", "rm index/*.sst" };
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 60);
    for (unsigned i = 0; i < sizeof(removes) / sizeof(removes[0]); i++) {
        node_fixture_stop(&f);
        shell_in(&f, removes[i]);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
        reads_small(&f, 1, 60, ERRC_OK);
        assert_int_equal(node_client_status(&f.client).shard_count, 60);
        shell_in(&f, "test ! -e index.condemned");
    }
    node_fixture_done(&f);
}

/* A disk that cannot be read is at fault itself: nothing of it is thrown away. */
static void an_index_that_cannot_be_read_fences(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 10);
    node_fixture_stop(&f);
    shell_in(&f, "for m in index/MANIFEST-*; do mv $m kept && mkdir $m && basename $m >name; done");
    assert_int_equal(node_fixture_start(&f), DISK_FENCED);
    node_fixture_stop(&f);
    shell_in(&f, "test -e index/*.sst && rmdir index/$(cat name) && mv kept index/$(cat name)");
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 1, 10, ERRC_OK);
    node_fixture_done(&f);
}

static void pause_ms(long ms)
{
    struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    (void)nanosleep(&pause, NULL);
}

static unsigned segment_count(const struct node_fixture *f)
{
    char path[256];
    unsigned count = 0;
    while (segment_file(f, count, path, sizeof(path))) {
        count++;
    }
    return count;
}

static void dead_segments_go_and_the_living_move(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 600); /* about seven segments of 1 MiB */
    unsigned before = segment_count(&f);
    assert_true(before >= 5);
    uint64_t ids[600];
    uint32_t count = 0;
    for (uint64_t id = 1; id <= 600; id++) {
        if (id % 10 != 0) {
            ids[count++] = id;
        }
    }
    assert_int_equal(node_client_free(&f.client, ids, count), ERRC_OK);
    for (unsigned i = 0; i < 200 && segment_count(&f) > 3; i++) {
        pause_ms(100);
    }
    assert_true(segment_count(&f) <= 3);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t id = 1; id <= 600; id++) {
            struct test_shard shard = small(id);
            assert_int_equal(node_client_read(&f.client, &shard), id % 10 == 0 ? ERRC_OK : ERRC_NOT_FOUND);
        }
        assert_int_equal(node_client_status(&f.client).shard_count, 60);
        node_fixture_crash_copy(&f);
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    }
    node_fixture_done(&f);
}

/* Repair frees a damaged shard and writes it again under its name, on the same disk. The tombstone between the two is copied
 * behind the second by compaction, since the segment of the first is still there: it must not kill the second. */
static void a_name_written_again_outlives_a_copied_tombstone(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 100); /* fills the segments in which 7 lies first; most of it stays */
    puts_small(&f, 101, 20);
    uint64_t again[] = { 7, 21, 35 };
    assert_int_equal(node_client_free(&f.client, again, 3), ERRC_OK);
    for (unsigned i = 0; i < 3; i++) {
        puts_small(&f, again[i], 1);
    }
    puts_small(&f, 201, 100);
    uint64_t ids[120];
    uint32_t count = 0;
    for (uint64_t id = 101; id < 301; id = id == 120 ? 201 : id + 1) {
        ids[count++] = id;
    }
    assert_int_equal(node_client_free(&f.client, ids, count), ERRC_OK);
    puts_small(&f, 301, 100);
    unsigned before = segment_count(&f);
    for (unsigned i = 0; i < 100 && segment_count(&f) >= before; i++) {
        pause_ms(100);
    }
    pause_ms(3000); /* every segment that is to be compacted has been */
    for (unsigned round = 0; round < 3; round++) {
        reads_small(&f, 1, 100, ERRC_OK);
        reads_small(&f, 201, 100, ERRC_NOT_FOUND);
        node_fixture_crash_copy(&f);
        if (round == 1) { /* all of the log once more */
            char command[600];
            (void)snprintf(command, sizeof(command), "rm -rf '%s/index'", f.dir);
            assert_int_equal(system(command), 0);
        }
        assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    }
    node_fixture_done(&f);
}

/* Of a data segment that has lost its header, the first shard is freed and punched: it looks empty at its beginning. */
static void a_segment_without_a_header_is_kept_for_what_is_in_it(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (uint64_t id = 1; id <= 2; id++) {
        struct test_shard shard = { .id = id, .bytes = 400000, .cell_bytes = 64 << 10 };
        assert_int_equal(node_client_stream(&f.client, &shard, 2), ERRC_OK);
    }
    uint64_t first = 1;
    assert_int_equal(node_client_free(&f.client, &first, 1), ERRC_OK);
    node_fixture_stop(&f);
    unsigned segments = segment_count(&f);
    for (unsigned n = 0; n < segments; n++) {
        char path[256];
        struct stat st;
        assert_true(segment_file(&f, n, path, sizeof(path)));
        if (stat(path, &st) == 0 && st.st_size > 500000) {
            zero_from(path, 0, 4096 + 400000);
        }
    }
    assert_int_equal(node_fixture_start(&f), DISK_FENCED);
    assert_int_equal(segment_count(&f), segments);
    node_fixture_done(&f);
}

static void a_vanished_folder_fences_the_disk(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 3);
    atomic_store(&f.client.state, 0);
    char command[400];
    (void)snprintf(command, sizeof(command), "mv %s %s.away", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(node_client_wait_state(&f.client), DISK_FENCED);
    assert_true(strlen(f.client.reason) > 0);
    struct test_shard shard = small(9);
    assert_int_equal(node_client_put(&f.client, &shard), ERRC_IO);
    shard = small(1);
    assert_int_equal(node_client_read(&f.client, &shard), ERRC_IO);
    node_fixture_stop(&f);
    (void)snprintf(command, sizeof(command), "mv %s.away %s", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    reads_small(&f, 1, 3, ERRC_OK);
    node_fixture_done(&f);
}

/* Again and again: each life has executors and an index of its own. The scrub goes on by the server's word, not by itself. */
static void a_folder_that_returns_is_opened_anew(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    for (unsigned round = 0; round < 3; round++) {
        char command[400];
        uint64_t first = 1 + round * 10;
        puts_small(&f, first, 3);
        atomic_store(&f.client.state, 0);
        (void)snprintf(command, sizeof(command), "mv %s %s.away", f.dir, f.dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(node_client_wait_state(&f.client), DISK_FENCED);
        struct test_shard shard = small(first + 5);
        assert_int_equal(node_client_put(&f.client, &shard), ERRC_IO);
        pause_ms(1500); /* it is looked at while it is away, too */
        atomic_store(&f.client.state, 0);
        (void)snprintf(command, sizeof(command), "mv %s.away %s", f.dir, f.dir);
        assert_int_equal(system(command), 0);
        assert_int_equal(node_client_wait_state(&f.client), DISK_ONLINE);
        for (unsigned before = 0; before <= round; before++) {
            reads_small(&f, 1 + before * 10, 3, ERRC_OK);
        }
    }
    puts_small(&f, 50, 3);
    reads_small(&f, 50, 3, ERRC_OK);
    node_fixture_done(&f);
}

static void a_removed_disk_does_not_return(void **state)
{
    (void)state;
    struct node_fixture f;
    char command[400];
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    atomic_store(&f.client.state, 0);
    (void)snprintf(command, sizeof(command), "mv %s %s.away", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(node_client_wait_state(&f.client), DISK_FENCED);
    assert_int_equal(node_disk_remove(f.client.node, f.client.disk), ERRC_OK);
    (void)snprintf(command, sizeof(command), "mv %s.away %s", f.dir, f.dir);
    assert_int_equal(system(command), 0);
    for (unsigned i = 0; i < 300 && node_disk_state(f.client.node, f.client.disk) != DISK_ABSENT; i++) {
        pause_ms(10);
    }
    pause_ms(2500);
    assert_int_equal(node_disk_state(f.client.node, f.client.disk), DISK_ABSENT);
    node_fixture_done(&f);
}

static void scrub_finds_a_flipped_bit(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 20);
    node_fixture_stop(&f);
    char path[256];
    uint64_t offsets[64];
    uint64_t size = 0;
    assert_true(segment_file(&f, 0, path, sizeof(path)));
    assert_true(frame_offsets(path, offsets, 64, &size) >= 20);
    flip(path, offsets[4] + 64 + 96 + 20);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    assert_int_equal(node_client_status(&f.client).scrub_age_ms, UINT64_MAX);
    assert_int_equal(node_scrub_start(f.client.node, f.client.disk, 100u << 20), ERRC_OK);
    for (unsigned i = 0; i < 100 && node_client_status(&f.client).scrub_age_ms == UINT64_MAX; i++) {
        pause_ms(20);
    }
    assert_true(node_client_status(&f.client).scrub_age_ms < 60000);
    assert_true(atomic_load(&f.client.corrupt_count) >= 1);
    node_fixture_done(&f);
}

static void bad_calls_are_refused(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    struct test_shard shard = small(1);
    f.client.cluster.bytes[0] ^= 1;
    assert_int_equal(node_client_put(&f.client, &shard), ERRC_INVALID);
    f.client.cluster.bytes[0] ^= 1;
    f.client.disk.bytes[0] ^= 1;
    assert_int_equal(node_client_put(&f.client, &shard), ERRC_UNAVAILABLE);
    f.client.disk.bytes[0] ^= 1;
    assert_int_equal(node_client_read(&f.client, &shard), ERRC_NOT_FOUND);
    assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_ABORT, 1), ERRC_NOT_FOUND);
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    call->method = RPC_NODE_SHARD_PUT;
    call->head = slice_str("rubbish");
    assert_int_equal(node_client_call(&f.client, call), ERRC_CORRUPT);
    rpc_call_release(call);
    mem_free(call);
    node_fixture_done(&f);
}

/* What a gateway leaves that dies between SHARD_OPEN and SHARD_COMMIT is named, and given back. */
static void open_shards_are_listed_and_dropped(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    const struct test_shard first = large(1);
    const struct test_shard second = large(2);
    assert_int_equal(node_client_open(&f.client, &first), ERRC_OK);
    assert_int_equal(node_client_open(&f.client, &second), ERRC_OK);
    assert_int_equal(node_client_open(&f.client, &first), ERRC_EXISTS);
    assert_int_equal(node_client_opens(&f.client), 2);
    assert_int_equal(node_client_list(&f.client), 0);
    assert_int_equal(node_client_name(&f.client, RPC_NODE_SHARD_ABORT, 1), ERRC_OK);
    assert_int_equal(node_client_opens(&f.client), 1);
    assert_int_equal(node_client_stream(&f.client, &first, 4), ERRC_OK);
    assert_int_equal(node_client_opens(&f.client), 1);
    assert_int_equal(node_client_list(&f.client), 1);
    node_fixture_done(&f);
}

static void a_removed_disk_can_come_back(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    puts_small(&f, 1, 3);
    atomic_store(&f.client.state, 0);
    assert_int_equal(node_disk_remove(f.client.node, f.client.disk), ERRC_OK);
    assert_int_equal(node_client_wait_state(&f.client), DISK_ABSENT);
    struct test_shard shard = small(1);
    assert_int_equal(node_client_read(&f.client, &shard), ERRC_UNAVAILABLE);
    atomic_store(&f.client.state, 0);
    struct node_disk_config config = { .id = f.client.disk, .path = f.dir, .options = f.options };
    assert_int_equal(node_disk_add(f.client.node, &config, NULL), ERRC_OK);
    assert_int_equal(node_client_wait_state(&f.client), DISK_ONLINE);
    reads_small(&f, 1, 3, ERRC_OK);
    node_fixture_done(&f);
}

static unsigned thread_count(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(dir);
    return count;
}

static void remove_disk(struct node_fixture *f)
{
    atomic_store(&f->client.state, 0);
    assert_int_equal(node_disk_remove(f->client.node, f->client.disk), ERRC_OK);
    assert_int_equal(node_client_wait_state(&f->client), DISK_ABSENT);
}

static void a_removed_disk_keeps_no_threads(void **state)
{
    (void)state;
    struct node_fixture f;
    node_fixture_init(&f, "/tmp", NULL);
    assert_int_equal(node_fixture_start(&f), DISK_ONLINE);
    remove_disk(&f);
    unsigned before = thread_count(); /* RocksDB keeps its own for the next map */
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&f.client.state, 0);
        struct node_disk_config config = { .id = f.client.disk, .path = f.dir, .options = f.options };
        assert_int_equal(node_disk_add(f.client.node, &config, NULL), ERRC_OK);
        assert_int_equal(node_client_wait_state(&f.client), DISK_ONLINE);
        assert_true(thread_count() > before);
        remove_disk(&f);
    }
    for (unsigned i = 0; i < 100 && thread_count() > before; i++) {
        pause_ms(10); /* the kernel forgets a joined thread a moment later */
    }
    assert_int_equal(thread_count(), before);
    assert_int_equal(node_scrub_start(f.client.node, f.client.disk, 1), ERRC_NOT_FOUND);
    node_fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_is_read_back_until_it_is_freed),
        cmocka_unit_test(a_large_shard_is_streamed),
        cmocka_unit_test(the_free_end_of_a_data_segment_is_given_back),
        cmocka_unit_test(a_crash_loses_nothing_acknowledged),
        cmocka_unit_test(a_torn_tail_is_no_damage),
        cmocka_unit_test(a_flipped_bit_in_the_log_is_noticed),
        cmocka_unit_test(a_flipped_bit_under_an_indexed_shard_is_noticed),
        cmocka_unit_test(a_lost_index_is_rebuilt_from_the_log),
        cmocka_unit_test(a_damaged_index_is_rebuilt_at_the_next_start),
        cmocka_unit_test(an_index_that_lacks_a_file_is_rebuilt),
        cmocka_unit_test(an_index_that_cannot_be_read_fences),
        cmocka_unit_test(dead_segments_go_and_the_living_move),
        cmocka_unit_test(a_name_written_again_outlives_a_copied_tombstone),
        cmocka_unit_test(a_segment_without_a_header_is_kept_for_what_is_in_it),
        cmocka_unit_test(a_vanished_folder_fences_the_disk),
        cmocka_unit_test(a_folder_that_returns_is_opened_anew),
        cmocka_unit_test(a_removed_disk_does_not_return),
        cmocka_unit_test(scrub_finds_a_flipped_bit),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(open_shards_are_listed_and_dropped),
        cmocka_unit_test(a_removed_disk_can_come_back),
        cmocka_unit_test(a_removed_disk_keeps_no_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
