/*
 * Scrub: reads every shard in the order of names and checks record, header and cells, within a bandwidth.
 * Where it stopped is kept in the index, so that a restart goes on there; losing the last stretch is harmless.
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#define SAVE_EVERY_BYTES (256ull << 20)
#define PASS_PAUSE_MS 1000   /* between two passes, and the look-again of an empty disk */
#define STEP_DELAY_MS_MAX 60000

struct scrub_save {
    struct log_op log;
    struct index_scrub scrub;
};

static void save_note(struct log_op *log, struct kv_batch *batch)
{
    struct scrub_save *save = container_of(log, struct scrub_save, log);
    struct index_key key = index_key_scrub();
    struct enc value = ENC_INIT;
    index_scrub_encode(&value, &save->scrub);
    log->disk->kv->vt->batch_put(batch, index_key_slice(&key), enc_slice(&value));
    enc_free(&value);
}

static void save_done(struct log_op *log, enum errc rc, struct error *e)
{
    (void)rc; /* the disk is out of service then */
    (void)e;
    struct node_disk *disk = log->disk;
    mem_free(container_of(log, struct scrub_save, log));
    atomic_fetch_sub(&disk->pending, 1);
}

static void scrub_save(struct node_disk *disk)
{
    struct scrub_save *save = mem_zalloc(sizeof(*save));
    save->scrub = disk->care.scrub;
    save->log.kind = LOG_NOTE;
    save->log.note = save_note;
    save->log.done = save_done;
    disk->care.scrub_unsaved_bytes = 0;
    atomic_fetch_add(&disk->pending, 1);
    log_submit(disk, &save->log);
}

/* The first shard at or behind the cursor; false at the end of the names. */
static bool scrub_next(struct node_disk *disk, struct shard_name *ret, enum errc *ret_rc, struct error *e)
{
    const struct kv_vt *vt = disk->kv->vt;
    struct index_key from = index_key_shard(&disk->care.scrub.next);
    struct index_key end = index_key_end('x');
    unsigned call = watch_begin(&disk->watch);
    struct kv_iterator *it = vt->iterate(disk->kv, index_key_slice(&from), index_key_slice(&end));
    vt->iterator_seek(it, index_key_slice(&from));
    bool found = vt->iterator_valid(it) && shard_name_from_key(vt->iterator_key(it), ret);
    *ret_rc = found ? ERRC_OK : vt->iterator_error(it, e);
    vt->iterator_destroy(it);
    watch_end(&disk->watch, call);
    return found;
}

static struct shard_name name_after(struct shard_name name)
{
    if (name.index < UINT8_MAX) {
        name.index++;
        return name;
    }
    name.index = 0;
    for (size_t i = ID_BYTES; i-- > 0;) {
        if (++name.extent.bytes[i] != 0) {
            break;
        }
    }
    return name;
}

/* Checks one shard; returns the bytes that it cost. */
static uint64_t scrub_shard(struct node_disk *disk, const struct shard_name *name)
{
    struct shard_check check = { .memory = ENC_INIT };
    struct index_entry entry = { .shard_bytes = 0 };
    struct error e = ERROR_INIT;
    enum errc rc = shard_verify(disk, name, true, &check, &entry, &e);
    enc_free(&check.memory);
    if (rc == ERRC_CORRUPT) {
        disk_report_corrupt(disk, name->extent, name->index);
    } else if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        disk_fence(disk, &e, "scrub");
    }
    return rc == ERRC_NOT_FOUND ? 0 : (uint64_t)entry.shard_bytes + entry.meta_bytes + RECORD_HEADER_BYTES;
}

static void pass_begin(struct node_disk *disk)
{
    disk->care.scrub.next = (struct shard_name){ .index = 0 };
    atomic_store(&disk->scrub_shards, 0);
    atomic_store(&disk->scrub_bytes, 0);
}

static uint64_t scrub_step(struct node_disk *disk)
{
    struct care_state *care = &disk->care;
    struct shard_name name;
    struct error e = ERROR_INIT;
    enum errc rc = ERRC_OK;
    if (scrub_next(disk, &name, &rc, &e)) {
        uint64_t bytes = scrub_shard(disk, &name);
        atomic_fetch_add(&disk->scrub_shards, 1);
        atomic_fetch_add(&disk->scrub_bytes, bytes);
        care->scrub.next = name_after(name);
        care->scrub_unsaved_bytes += bytes;
        if (care->scrub_unsaved_bytes >= SAVE_EVERY_BYTES) {
            scrub_save(disk);
        }
        return bytes * 1000 / care->scrub_bytes_per_second;
    }
    if (disk_fault(disk, rc, &e, FAULT_INDEX) != ERRC_OK) {
        return PASS_PAUSE_MS;
    }
    pass_begin(disk);
    care->scrub.pass_wall_ms = env_wall_ms(disk->env);
    atomic_store(&disk->scrub_pass_wall_ms, care->scrub.pass_wall_ms);
    scrub_save(disk);
    return PASS_PAUSE_MS;
}

static void scrub_tick(struct task *task)
{
    struct node_disk *disk = container_of(task, struct node_disk, care.scrub_timer.task);
    struct care_state *care = &disk->care;
    if (care->scrub_bytes_per_second == 0 || !disk_readable(disk) || atomic_load(&disk->closing)) {
        care->scrub_running = false;
        atomic_fetch_sub(&disk->pending, 1);
        return;
    }
    uint64_t delay_ms = scrub_step(disk);
    timer_start(disk->care_executor, &care->scrub_timer,
                delay_ms < STEP_DELAY_MS_MAX ? delay_ms : STEP_DELAY_MS_MAX);
}

/* Care executor; also when the disk has come into service, later than it was told to scrub. */
static void scrub_begin(struct node_disk *disk, void *data)
{
    (void)data;
    struct care_state *care = &disk->care;
    if (care->scrub_bytes_per_second > 0 && !care->scrub_running && disk_readable(disk)) {
        care->scrub_running = true;
        atomic_fetch_add(&disk->pending, 1);
        care->scrub_timer.task.run = scrub_tick;
        care->scrub_timer.executor = disk->care_executor;
        timer_start(disk->care_executor, &care->scrub_timer, 0);
    }
}

static void scrub_set_run(struct node_disk *disk, void *data)
{
    struct care_state *care = &disk->care;
    uint64_t *bytes_per_second = data;
    care->scrub_bytes_per_second = *bytes_per_second;
    mem_free(bytes_per_second);
    if (care->scrub_bytes_per_second == 0 && care->scrub_running) {
        timer_stop(disk->care_executor, &care->scrub_timer);
        care->scrub_running = false;
        if (disk_readable(disk)) {
            scrub_save(disk);
        }
        atomic_fetch_sub(&disk->pending, 1);
    }
    scrub_begin(disk, NULL);
}

void scrub_opened(struct node_disk *disk)
{
    disk_post(disk, disk->care_executor, scrub_begin, NULL);
}

void scrub_set(struct node_disk *disk, uint64_t bytes_per_second)
{
    uint64_t *value = mem_alloc(sizeof(*value));
    *value = bytes_per_second;
    disk_post(disk, disk->care_executor, scrub_set_run, value);
}

static void scrub_again_run(struct node_disk *disk, void *data)
{
    (void)data;
    pass_begin(disk);
}

void scrub_again(struct node_disk *disk)
{
    disk_post(disk, disk->care_executor, scrub_again_run, NULL);
}
