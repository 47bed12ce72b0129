/*
 * Once a second for each disk: is it still the same disk, has it room, and what can be given back to it.
 *
 *   retired  segments that have left the table; deleted when the readers of their time have gone
 */
#include "storage-node/node_disk.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

struct punch {
    uint64_t segment, offset, bytes;
};

static void punch_run(struct node_disk *disk, void *data)
{
    struct punch *punch = data;
    struct segment *segment = segments_find(disk->segments, punch->segment);
    if (segment != NULL && disk_state(disk) != DISK_FENCED) { /* gaps are found just before it is in service */
        struct error e = ERROR_INIT;
        enum errc rc = disk->env->vt->punch_hole(disk->env, segment->file, punch->offset, punch->bytes, &e);
        if (rc != ERRC_UNSUPPORTED) { /* then space comes back with the whole segment */
            (void)disk_fault(disk, rc, &e, "punch");
        }
    }
    mem_free(punch);
}

void care_punch(struct node_disk *disk, uint64_t segment, uint64_t offset, uint64_t bytes)
{
    struct punch *punch = mem_zalloc(sizeof(*punch));
    *punch = (struct punch){ .segment = segment, .offset = offset, .bytes = bytes };
    disk_post(disk, disk->care_executor, punch_run, punch);
}

void care_retire(struct node_disk *disk, struct segment *segment)
{
    segment->next_retired = disk->care.retired;
    disk->care.retired = segment;
}

/* ---- dead segments ---- */

struct drop {
    struct log_op log;
    struct segment *segment;
};

static void retire_run(struct node_disk *disk, void *data)
{
    care_retire(disk, data);
}

/* Log executor: with this batch the segment is no longer known. */
static void drop_note(struct log_op *log, struct kv_batch *batch)
{
    struct drop *drop = container_of(log, struct drop, log);
    struct index_key key = index_key_segment(drop->segment->number);
    log->disk->kv->vt->batch_delete(batch, index_key_slice(&key));
    segments_remove(log->disk->segments, drop->segment);
}

/* The note shared a frame for which there was no room: the segment is still known, and a later tick tries again. */
static void undrop_run(struct node_disk *disk, void *data)
{
    struct segment *segment = data;
    segment->dropping = false;
    disk->care.drops--;
}

static void drop_done(struct log_op *log, enum errc rc, struct error *e)
{
    struct drop *drop = container_of(log, struct drop, log);
    (void)e; /* but for NO_SPACE the disk is out of service then, and the segment stays */
    if (rc == ERRC_OK) {
        disk_post(log->disk, log->disk->care_executor, retire_run, drop->segment);
    } else if (rc == ERRC_NO_SPACE) {
        disk_post(log->disk, log->disk->care_executor, undrop_run, drop->segment);
    }
    atomic_fetch_sub(&log->disk->pending, 1);
    mem_free(drop);
}

bool segment_dead(const struct segment *segment)
{
    return atomic_load(&segment->sealed) && atomic_load(&segment->sealed_end) != 0 &&
           atomic_load(&segment->opens) == 0 && atomic_load(&segment->live_count) == 0 &&
           atomic_load(&segment->tombstones) == 0;
}

/* Deletes what holds nothing: a segment of the log only once the index can do without replaying it. */
static void care_drop_dead(struct node_disk *disk)
{
    bool flushed = false;
    for (struct segment *segment = segments_next(disk->segments, 1); segment != NULL;
         segment = segments_next(disk->segments, segment->number + 1)) {
        if (!segment_dead(segment) || segment->dropping) {
            continue;
        }
        struct error e = ERROR_INIT;
        if (segment->kind == SEGMENT_LOG && !flushed) {
            if (disk_flush_index(disk, &e) != ERRC_OK) {
                return;
            }
            flushed = true;
        }
        segment->dropping = true;
        disk->care.drops++;
        struct drop *drop = mem_zalloc(sizeof(*drop));
        drop->segment = segment;
        drop->log.kind = LOG_NOTE;
        drop->log.note = drop_note;
        drop->log.done = drop_done;
        atomic_fetch_add(&disk->pending, 1);
        log_submit(disk, &drop->log);
    }
}

static void care_reap(struct node_disk *disk)
{
    struct care_state *care = &disk->care;
    if (care->grace_waiting && grace_over(disk->segments, care->grace_slot)) {
        care->grace_waiting = false;
        while (care->retiring != NULL) {
            struct segment *segment = care->retiring;
            struct error e = ERROR_INIT;
            care->retiring = segment->next_retired;
            (void)disk_fault(disk, segment_unlink(disk, segment->number, &e), &e, "delete segment");
            care->drops--;
            segment_free(disk->env, segment);
        }
    }
    if (!care->grace_waiting && care->retired != NULL) {
        care->retiring = care->retired;
        care->retired = NULL;
        care->grace_slot = grace_flip(disk->segments);
        care->grace_waiting = true;
    }
}

static void care_space(struct node_disk *disk)
{
    uint64_t free_bytes = disk_free_bytes(disk, false);
    uint64_t wanted = 2 * disk->options.segment_bytes;
    uint64_t part = atomic_load(&disk->total_bytes) / 100;
    if (free_bytes > (wanted < part ? wanted : part)) {
        disk_set_full(disk, false);
    }
}

/*
 * A fenced disk whose folder went (unmounted, moved, shut off) and is there again begins another life, as with a restart. One
 * whose folder stayed does not come back by itself: a write or a sync of it failed, and the next one may too.
 */
static void care_look_for_return(struct node_disk *disk)
{
    if (disk_folder_is_there(disk) && atomic_load(&disk->gone)) {
        atomic_store(&disk->returned, true);
    }
}

void care_tick(struct task *task)
{
    struct node_disk *disk = container_of(task, struct node_disk, care.tick);
    struct error e = ERROR_INIT;
    if (disk_state(disk) == DISK_FENCED) {
        care_look_for_return(disk);
    }
    if (disk_readable(disk)) {
        enum errc rc = disk_check_identity(disk, &e);
        if (rc == ERRC_OK) {
            rc = disk_check_space(disk, &e);
        }
        (void)disk_fault(disk, rc, &e, "check");
    }
    if (disk_readable(disk)) {
        care_space(disk);
        care_reap(disk);
        if (disk->care.compaction == NULL) {
            care_drop_dead(disk);
        }
        if (disk->care.compaction == NULL && disk->care.drops == 0) {
            compact_tick(disk);
        }
    }
    atomic_store(&disk->care_posted, false);
    atomic_fetch_sub(&disk->pending, 1);
}

/* What was retired and not deleted yet is found dead again at the next start. */
void care_close(struct node_disk *disk)
{
    struct care_state *care = &disk->care;
    while (care->retiring != NULL || care->retired != NULL) {
        struct segment **list = care->retiring != NULL ? &care->retiring : &care->retired;
        struct segment *segment = *list;
        *list = segment->next_retired;
        segment_free(disk->env, segment);
    }
}
