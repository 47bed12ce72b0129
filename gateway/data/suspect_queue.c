#include "gateway/data/suspect_queue.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/data_lock.h"

struct suspect {
    struct list node;
    struct extent_id extent;
    struct disk_id disk;
    unsigned shard;
};

struct suspect_queue {
    struct data_repair_hook hook;
    struct suspect_queue_config config;
    struct data_lock lock;
    struct list waiting;            /* guarded */
    unsigned waiting_count;         /* guarded */
    bool posted;                    /* guarded: task is queued or a suspect is being looked at */
    struct task task;
    struct suspect *now;
    struct meta_op op;
    bool stopping;
    void (*stop_done)(void *data);
    void *stop_data;
};

static void queue_free(struct suspect_queue *queue)
{
    void (*done)(void *data) = queue->stop_done;
    void *data = queue->stop_data;
    while (!list_empty(&queue->waiting)) {
        mem_free(container_of(list_pop(&queue->waiting), struct suspect, node));
    }
    if (queue->op.client != NULL) {
        meta_op_release(&queue->op);
    }
    mem_free(queue);
    done(data);
}

/* The suspect is dealt with: the next one, on a turn of its own. */
static void queue_next(struct suspect_queue *queue)
{
    mem_free(queue->now);
    queue->now = NULL;
    executor_post(queue->config.executor, &queue->task);
}

static void missing_done(struct meta_op *op)
{
    struct suspect_queue *queue = op->data;
    if (op->status == ERRC_OK && op->result.outcome == META_OK && queue->config.on_missing != NULL) {
        queue->config.on_missing(queue->config.data);
    }
    queue_next(queue);
}

static void record_done(struct meta_op *op)
{
    struct suspect_queue *queue = op->data;
    const struct suspect *s = queue->now;
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    const struct extent *extent = &op->extent.extent;
    bool news = op->status == ERRC_OK && op->extent.outcome == META_OK &&
                s->shard < (unsigned)extent->code.k + extent->code.m && (extent->missing >> s->shard & 1) == 0 &&
                cluster_map_locate(queue->config.store->map, extent, where) == ERRC_OK &&
                disk_id_equal(where[s->shard].disk, s->disk);
    if (!news || queue->stopping) {
        queue_next(queue);
        return;
    }
    struct meta_command command = { .type = META_CMD_EXTENT_MISSING };
    command.extent_missing.id = s->extent;
    command.extent_missing.shards = 1u << s->shard;
    meta_op_release(&queue->op);
    meta_op_init(&queue->op, queue->config.executor, NULL, missing_done, queue);
    meta_propose(queue->config.store->meta, &queue->op, &command);
}

static void queue_run(struct task *task)
{
    struct suspect_queue *queue = container_of(task, struct suspect_queue, task);
    data_lock_take(&queue->lock);
    struct list *first = queue->stopping ? NULL : list_pop(&queue->waiting);
    queue->waiting_count -= first != NULL;
    queue->posted = first != NULL;
    data_lock_give(&queue->lock);
    if (first == NULL) {
        if (queue->stopping) {
            queue_free(queue);
        }
        return;
    }
    queue->now = container_of(first, struct suspect, node);
    struct meta_query query = { .type = META_QRY_EXTENT, .extent = queue->now->extent };
    if (queue->op.client != NULL) {
        meta_op_release(&queue->op);
    }
    meta_op_init(&queue->op, queue->config.executor, NULL, record_done, queue);
    meta_query(queue->config.store->meta, &queue->op, &query);
}

void suspect_queue_report(struct suspect_queue *queue, struct extent_id extent, unsigned shard, struct disk_id disk)
{
    struct suspect *suspect = mem_zalloc(sizeof(*suspect));
    suspect->extent = extent;
    suspect->disk = disk;
    suspect->shard = shard;
    data_lock_take(&queue->lock);
    bool full = queue->waiting_count >= SUSPECTS_MAX;
    bool start = !full && !queue->posted;
    if (!full) {
        list_append(&queue->waiting, &suspect->node);
        queue->waiting_count++;
        queue->posted = true;
    }
    data_lock_give(&queue->lock);
    if (full) {
        mem_free(suspect);
    }
    if (start) {
        executor_post(queue->config.executor, &queue->task);
    }
}

static void hook_suspect(struct data_repair_hook *hook, const struct extent *extent, unsigned shard, enum errc why)
{
    struct suspect_queue *queue = container_of(hook, struct suspect_queue, hook);
    struct cluster_map_shard where[CODE_SHARDS_MAX];
    (void)why; /* lost and wrong are repaired alike */
    if (cluster_map_locate(queue->config.store->map, extent, where) == ERRC_OK) {
        suspect_queue_report(queue, extent->id, shard, where[shard].disk);
    }
}

struct suspect_queue *suspect_queue_start(const struct suspect_queue_config *config)
{
    struct suspect_queue *queue = mem_zalloc(sizeof(*queue));
    queue->config = *config;
    queue->hook.suspect = hook_suspect;
    queue->task.run = queue_run;
    data_lock_init(&queue->lock);
    list_init(&queue->waiting);
    return queue;
}

struct data_repair_hook *suspect_queue_hook(struct suspect_queue *queue)
{
    return &queue->hook;
}

void suspect_queue_stop(struct suspect_queue *queue, void (*done)(void *data), void *data)
{
    ASSERT(!queue->stopping);
    queue->stop_done = done;
    queue->stop_data = data;
    data_lock_take(&queue->lock);
    queue->stopping = true;
    bool start = !queue->posted;
    queue->posted = true;
    data_lock_give(&queue->lock);
    if (start) {
        executor_post(queue->config.executor, &queue->task);
    }
}
