#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdio.h>

#define SEGMENT_BYTES_DEFAULT (64ull << 20)
#define QUEUE_BYTES_DEFAULT (64ull << 20)
#define CACHE_BYTES_DEFAULT (16u << 20)
#define MEMTABLE_BYTES_DEFAULT (4u << 20)
#define HANG_MS_DEFAULT 30000
#define PROBE_NAME "probe.tmp"

struct disk_job {
    struct task task;
    struct node_disk *disk;
    void (*run)(struct node_disk *disk, void *data);
    void *data;
};

static void disk_job_run(struct task *task)
{
    struct disk_job *job = container_of(task, struct disk_job, task);
    struct node_disk *disk = job->disk;
    job->run(disk, job->data);
    mem_free(job);
    atomic_fetch_sub(&disk->pending, 1);
}

void disk_post(struct node_disk *disk, struct executor *executor,
               void (*run)(struct node_disk *disk, void *data), void *data)
{
    struct disk_job *job = mem_zalloc(sizeof(*job));
    job->task.run = disk_job_run;
    job->disk = disk;
    job->run = run;
    job->data = data;
    atomic_fetch_add(&disk->pending, 1);
    executor_post(executor, &job->task);
}

static struct node_disk_options options_with_defaults(struct node_disk_options options)
{
    options.reserve_percent = options.reserve_percent > 0 ? options.reserve_percent : 5;
    options.segment_bytes = options.segment_bytes > 0 ? options.segment_bytes : SEGMENT_BYTES_DEFAULT;
    options.reader_threads = options.reader_threads > 0 ? options.reader_threads : 2;
    options.queue_bytes_max = options.queue_bytes_max > 0 ? options.queue_bytes_max : QUEUE_BYTES_DEFAULT;
    options.index_cache_bytes = options.index_cache_bytes > 0 ? options.index_cache_bytes : CACHE_BYTES_DEFAULT;
    options.index_memtable_bytes =
        options.index_memtable_bytes > 0 ? options.index_memtable_bytes : MEMTABLE_BYTES_DEFAULT;
    options.hang_ms = options.hang_ms > 0 ? options.hang_ms : HANG_MS_DEFAULT;
    return options;
}

struct node_disk *disk_create(struct node *node, const struct node_config *config,
                              const struct node_disk_config *disk_config)
{
    struct node_disk *disk = mem_zalloc(sizeof(*disk));
    disk->node = node;
    watch_init(&disk->watch, config->env);
    disk->env = &disk->watch.env;
    disk->kv_factory = config->kv_factory;
    disk->cluster = config->cluster;
    disk->id = disk_config->id;
    disk->options = options_with_defaults(disk_config->options);
    disk->path = mem_strdup(disk_config->path);
    disk->segments_path = mem_format("%s/segments", disk->path);
    disk->index_path = mem_format("%s/index", disk->path);
    disk->segments = segments_create();
    atomic_store(&disk->state, DISK_ABSENT);
    const struct env_vt *vt = disk->env->vt;
    disk->log_executor = vt->executor_create(disk->env, "disk-log", 1);
    disk->data_executor = vt->executor_create(disk->env, "disk-data", 1);
    disk->care_executor = vt->executor_create(disk->env, "disk-care", 1);
    disk->readers = vt->executor_create(disk->env, "disk-read", disk->options.reader_threads);
    data_init(disk);
    return disk;
}

void disk_end_threads(struct node_disk *disk)
{
    struct executor **executors[] = { &disk->readers, &disk->data_executor, &disk->care_executor, &disk->log_executor };
    ASSERT(atomic_load(&disk->closed));
    for (unsigned i = 0; i < sizeof(executors) / sizeof(executors[0]); i++) {
        if (*executors[i] != NULL) {
            executor_destroy(*executors[i]);
            *executors[i] = NULL;
        }
    }
}

void disk_destroy(struct node_disk *disk)
{
    disk_end_threads(disk);
    segments_destroy(disk->env, disk->segments);
    enc_free(&disk->log.staging);
    enc_free(&disk->log.value);
    enc_free(&disk->log.value2);
    mem_free(disk->log.parts);
    mem_free(disk->log.iov);
    mem_free(disk->path);
    mem_free(disk->segments_path);
    mem_free(disk->index_path);
    mem_free(disk);
}

enum disk_state disk_state(const struct node_disk *disk)
{
    return (enum disk_state)atomic_load(&disk->state);
}

bool disk_readable(const struct node_disk *disk)
{
    enum disk_state state = disk_state(disk);
    return state == DISK_ONLINE || state == DISK_FULL;
}

enum errc disk_refusal(const struct node_disk *disk, struct error *e)
{
    if (disk_state(disk) == DISK_FENCED) {
        return error_set(e, ERRC_IO, "disk %s is out of service: %s", disk->path, disk->reason);
    }
    return error_set(e, ERRC_UNAVAILABLE, "disk %s is not in service", disk->path);
}

/* A damaged index does not condemn the disk: the next start makes a new one from the log. */
enum errc disk_condemn_index(struct node_disk *disk, struct error *e)
{
    char *path = mem_format("%s/%s", disk->path, INDEX_CONDEMNED_NAME);
    struct env_file *file = NULL;
    enum errc rc = disk->env->vt->open(disk->env, path, ENV_OPEN_CREATE, &file, e);
    if (rc == ERRC_OK) {
        disk->env->vt->close(disk->env, file);
        rc = disk->env->vt->fsync_dir(disk->env, disk->path, e);
    }
    mem_free(path);
    return rc;
}

void disk_fence(struct node_disk *disk, const struct error *cause, const char *what)
{
    if (atomic_exchange(&disk->fencing, true)) {
        return;
    }
    if (cause != NULL && cause->code == ERRC_CORRUPT && strcmp(what, FAULT_INDEX) == 0) {
        (void)disk_condemn_index(disk, NULL); /* lost: found damaged again */
    }
    (void)snprintf(disk->reason, sizeof(disk->reason), "%.40s: %.190s", what,
                   cause != NULL && cause->text[0] != '\0' ? cause->text : "failed");
    atomic_store(&disk->state, DISK_FENCED);
    node_tell_state(disk, DISK_FENCED, disk->reason);
}

enum errc disk_fault(struct node_disk *disk, enum errc rc, const struct error *cause, const char *what)
{
    if (rc != ERRC_OK && rc != ERRC_NO_SPACE) {
        disk_fence(disk, cause, what);
    }
    return rc;
}

enum errc disk_flush_index(struct node_disk *disk, struct error *e)
{
    unsigned call = watch_begin(&disk->watch);
    enum errc rc = disk->kv->vt->flush(disk->kv, e);
    watch_end(&disk->watch, call);
    return disk_fault(disk, rc, e, FAULT_INDEX);
}

void disk_set_full(struct node_disk *disk, bool full)
{
    int expected = full ? DISK_ONLINE : DISK_FULL;
    int wanted = full ? DISK_FULL : DISK_ONLINE;
    if (atomic_compare_exchange_strong(&disk->state, &expected, wanted)) {
        node_tell_state(disk, (enum disk_state)wanted, full ? "the reserve is reached" : "");
    }
}

uint64_t disk_free_bytes(const struct node_disk *disk, bool use_reserve)
{
    uint64_t free_bytes = atomic_load(&disk->free_bytes);
    uint64_t reserve = atomic_load(&disk->total_bytes) / 100 * disk->options.reserve_percent;
    if (use_reserve) {
        return free_bytes;
    }
    return free_bytes > reserve ? free_bytes - reserve : 0;
}

enum errc disk_check_space(struct node_disk *disk, struct error *e)
{
    struct env_space space;
    enum errc rc = disk->env->vt->space(disk->env, disk->path, &space, e);
    if (rc == ERRC_OK) {
        atomic_store(&disk->total_bytes, space.total_bytes);
        atomic_store(&disk->free_bytes, space.free_bytes);
    }
    return rc;
}

/* Missing, not to be entered, or of another cluster: not what one gets from a disk that fails. */
static bool is_gone(enum errc rc)
{
    return rc == ERRC_NOT_FOUND || rc == ERRC_DENIED || rc == ERRC_CONFLICT;
}

enum errc disk_check_identity(struct node_disk *disk, struct error *e)
{
    struct superblock found;
    enum errc rc = superblock_read(disk->env, disk->path, &disk->cluster, &found, e);
    bool other = rc == ERRC_OK && (!disk_id_equal(found.disk, disk->id) || found.device != disk->device ||
                                   found.inode != disk->inode);
    if (is_gone(rc) || other) {
        atomic_store(&disk->gone, true);
    }
    if (rc != ERRC_OK) {
        (void)error_wrap(e, "identity file");
        return ERRC_IO;
    }
    return other ? error_set(e, ERRC_IO, "another disk has appeared at %s", disk->path) : ERRC_OK;
}

bool disk_folder_is_there(struct node_disk *disk)
{
    struct superblock found;
    enum errc rc = superblock_read(disk->env, disk->path, &disk->cluster, &found, NULL);
    if (is_gone(rc)) {
        atomic_store(&disk->gone, true);
    }
    return rc == ERRC_OK && disk_id_equal(found.disk, disk->id);
}

void disk_report_corrupt(struct node_disk *disk, struct extent_id extent, uint8_t index)
{
    atomic_fetch_add(&disk->damage_count, 1);
    node_tell_corrupt(disk, extent, index);
}

/* ---- opening ---- */

static enum errc disk_adopt_identity(struct node_disk *disk, struct error *e)
{
    struct superblock found;
    enum errc rc = superblock_read(disk->env, disk->path, &disk->cluster, &found, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (!disk_id_equal(found.disk, disk->id)) {
        return error_set(e, ERRC_CONFLICT, "%s is another disk than expected", disk->path);
    }
    disk->device = found.device;
    disk->inode = found.inode;
    return ERRC_OK;
}

static enum errc disk_make_folder(struct node_disk *disk, const char *path, struct error *e)
{
    struct error ignored = ERROR_INIT;
    enum errc rc = disk->env->vt->mkdir(disk->env, path, &ignored);
    if (rc != ERRC_OK && rc != ERRC_EXISTS) {
        return error_set(e, rc, "%s", ignored.text);
    }
    return disk->env->vt->fsync_dir(disk->env, disk->path, e);
}

/* Writes one block with O_DIRECT; whatever fails means that the page cache is used instead. */
static bool disk_probe_direct(struct node_disk *disk)
{
    char *path = mem_format("%s/%s", disk->path, PROBE_NAME);
    struct env_file *file = NULL;
    struct buffer *block = buffer_new(DATA_ALIGN);
    memset(block->data, 0x5a, DATA_ALIGN);
    struct iovec part = { .iov_base = block->data, .iov_len = DATA_ALIGN };
    enum errc rc = disk->env->vt->open(disk->env, path, ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE | ENV_OPEN_DIRECT,
                                       &file, NULL);
    if (rc == ERRC_OK) {
        rc = disk->env->vt->pwritev(disk->env, file, &part, 1, 0, NULL);
        disk->env->vt->close(disk->env, file);
    }
    (void)disk->env->vt->unlink(disk->env, path, NULL); /* may never have been made */
    buffer_unref(block);
    mem_free(path);
    return rc == ERRC_OK;
}

static enum errc disk_open(struct node_disk *disk, struct error *e)
{
    enum errc rc = disk_adopt_identity(disk, e);
    if (rc == ERRC_OK) {
        rc = disk_check_space(disk, e);
    }
    if (rc == ERRC_OK) {
        rc = disk_make_folder(disk, disk->segments_path, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    disk->direct = !disk->options.buffered_only && disk_probe_direct(disk);
    return replay_disk(disk, e);
}

static void disk_open_run(struct node_disk *disk, void *data)
{
    (void)data;
    struct error e = ERROR_INIT;
    enum errc rc = disk_open(disk, &e);
    if (rc != ERRC_OK) {
        disk_fence(disk, &e, "start");
    } else {
        bool full = disk_free_bytes(disk, false) == 0;
        int expected = DISK_ABSENT;
        if (atomic_compare_exchange_strong(&disk->state, &expected, full ? DISK_FULL : DISK_ONLINE)) {
            scrub_opened(disk);
            node_tell_state(disk, full ? DISK_FULL : DISK_ONLINE, full ? "the reserve is reached" : "");
        }
    }
    atomic_store(&disk->opened, true);
}

void disk_open_start(struct node_disk *disk)
{
    disk_post(disk, disk->log_executor, disk_open_run, NULL);
}

/* ---- closing ---- */

/* Last job of the disk: seals the log so that the next start sees where it ends, and flushes the index. */
static void disk_close_log(struct node_disk *disk, void *data)
{
    (void)data;
    struct error e = ERROR_INIT;
    if (disk->kv != NULL && disk_readable(disk)) {
        enum errc rc = disk->log.active != NULL ? log_seal(disk, disk->log.active, &e) : ERRC_OK;
        if (rc == ERRC_OK) {
            rc = log_index_commit(disk, &e);
        }
        if (rc == ERRC_OK) {
            rc = disk_flush_index(disk, &e);
        }
        (void)disk_fault(disk, rc, &e, "close");
    }
    if (disk->kv != NULL) {
        disk->kv->vt->batch_destroy(disk->log.batch);
        unsigned call = watch_begin(&disk->watch); /* RocksDB waits for its background work */
        disk->kv->vt->close(disk->kv);
        watch_end(&disk->watch, call);
        disk->kv = NULL;
    }
    atomic_store(&disk->closed, true);
}

static void disk_close_care(struct node_disk *disk, void *data)
{
    (void)data;
    care_close(disk);
    disk_post(disk, disk->log_executor, disk_close_log, NULL);
}

static void disk_close_data(struct node_disk *disk, void *data)
{
    (void)data;
    data_abort_all(disk);
    disk_post(disk, disk->care_executor, disk_close_care, NULL);
}

void disk_close_start(struct node_disk *disk)
{
    ASSERT(atomic_load(&disk->closing));
    disk_post(disk, disk->data_executor, disk_close_data, NULL);
}
