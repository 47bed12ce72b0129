#include "tests/lib/fake_meta.h"

#include "common/base/list.h"
#include "common/rpc/rpc_schema.h"
#include "tests/lib/fake_node.h"

struct extent *fake_meta_extent(struct fake_meta *meta, struct extent_id id)
{
    for (unsigned i = 0; i < meta->extent_count; i++) {
        if (extent_id_equal(meta->extents[i].id, id)) {
            return &meta->extents[i];
        }
    }
    return NULL;
}

void fake_meta_add(struct fake_meta *meta, const struct extent *extent)
{
    meta->extents[meta->extent_count++] = *extent;
}

static struct meta_session *session_find(struct fake_meta *meta, uint64_t id)
{
    for (unsigned i = 0; i < meta->session_count; i++) {
        if (meta->sessions[i].id == id) {
            return &meta->sessions[i];
        }
    }
    return NULL;
}

static void session_command(struct fake_meta *meta, const struct meta_command *command, struct meta_result *result)
{
    if (command->type == META_CMD_SESSION_OPEN) {
        result->value = ++meta->next_session;
        meta->sessions[meta->session_count++] =
            (struct meta_session){ result->value, command->session_open.node, true, 0 };
        return;
    }
    bool reserve = command->type == META_CMD_SESSION_RESERVE;
    struct meta_session *session =
        session_find(meta, reserve ? command->session_reserve.session : command->session_close.session);
    if (session == NULL || !session->open) {
        result->outcome = META_STALE;
    } else if (reserve) {
        result->value = session->next_counter;
        session->next_counter += SESSION_IDS_RESERVED;
    } else {
        session->open = false;
    }
}

static void repaired(struct fake_meta *meta, const struct meta_extent_repaired *command, struct meta_result *result)
{
    struct extent *extent = fake_meta_extent(meta, command->id);
    if (extent == NULL || extent->epoch != command->epoch) {
        meta->stale++;
        result->outcome = META_STALE;
        return;
    }
    if (extent->code.k != command->after.code.k || extent->code.m != command->after.code.m ||
        memcmp(extent->position, command->after.position, sizeof(extent->position)) != 0) {
        meta->retired[meta->retired_count++] =
            (struct meta_gc_item){ .seq = 1000 + meta->index, .index = meta->index, .kind = 1, .extent = *extent };
    }
    *extent = command->after;
    extent->epoch = command->epoch + 1;
    meta->repaired++;
}

static void gc_done(struct fake_meta *meta, const struct meta_gc_done *command)
{
    for (uint32_t i = 0; i < command->count; i++) {
        for (unsigned g = 0; g < meta->retired_count; g++) {
            if (meta->retired[g].seq == command->seqs[i]) {
                meta->retired[g] = meta->retired[--meta->retired_count];
                break;
            }
        }
    }
    for (uint32_t i = 0; i < command->count; i++) {
        for (unsigned g = 0; g < meta->gc_count; g++) {
            if (meta->gc[g].seq == command->seqs[i]) {
                meta->gc[g] = meta->gc[--meta->gc_count];
                break;
            }
        }
    }
}

static enum errc serve_command(struct fake_meta *meta, struct rpc_call *call, struct arena *arena)
{
    struct meta_command command;
    enum errc rc = meta_command_decode(call->head, arena, &command);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct meta_result result = { .index = ++meta->index };
    switch (command.type) {
    case META_CMD_SESSION_OPEN:
    case META_CMD_SESSION_RESERVE:
    case META_CMD_SESSION_CLOSE:
        session_command(meta, &command, &result);
        break;
    case META_CMD_EXTENT_MISSING: {
        struct extent *extent = fake_meta_extent(meta, command.extent_missing.id);
        meta->missing_proposals++;
        if (extent == NULL) {
            result.outcome = META_STALE;
        } else if ((extent->missing | command.extent_missing.shards) != extent->missing) {
            extent->missing |= command.extent_missing.shards;
            extent->epoch++;
        }
        break;
    }
    case META_CMD_EXTENT_REPAIRED:
        repaired(meta, &command.extent_repaired, &result);
        if (meta->lose_next_repaired > 0) {
            meta->lose_next_repaired--;
            return ERRC_TIMEOUT;
        }
        break;
    case META_CMD_GC_DONE:
        gc_done(meta, &command.gc_done);
        break;
    case META_CMD_GC_EXPAND:
        if (meta->expands_left > 0) {
            meta->expands_left--;
        }
        result.detail = meta->expands_left > 0;
        if (meta->expands_left == 0) {
            struct meta_gc_done done = { 1, &command.gc_expand.seq };
            gc_done(meta, &done);
        }
        break;
    default:
        return ERRC_UNSUPPORTED;
    }
    meta_result_encode(&call->reply, &result);
    return ERRC_OK;
}

static void serve_exist(struct fake_meta *meta, const struct meta_query *query, struct enc *reply)
{
    uint8_t bitmap[1024] = { 0 };
    size_t count = query->ids.len / ID_BYTES;
    for (size_t i = 0; i < count; i++) {
        struct extent_id id;
        memcpy(id.bytes, query->ids.data + i * ID_BYTES, ID_BYTES);
        bool there = fake_meta_extent(meta, id) != NULL;
        for (unsigned g = 0; g < meta->gc_count; g++) {
            there |= extent_id_equal(meta->gc[g].extent.id, id);
        }
        bitmap[i / 8] |= (uint8_t)(there << (i % 8));
    }
    struct meta_exist_reply answer = { slice_of(bitmap, (count + 7) / 8) };
    meta_exist_reply_encode(reply, &answer);
}

static void serve_gc(struct fake_meta *meta, const struct meta_query *query, struct enc *reply)
{
    struct meta_gc_item items[FAKE_GC];
    uint32_t count = 0;
    for (unsigned i = 0; i < meta->gc_count && count < query->limit; i++) {
        if (meta->gc[i].seq >= query->from) {
            items[count++] = meta->gc[i];
        }
    }
    struct meta_gc_reply answer = { count, items };
    meta_gc_reply_encode(reply, &answer);
}

static void serve_retired(struct fake_meta *meta, const struct meta_query *query, struct enc *reply)
{
    struct meta_gc_item items[FAKE_GC];
    uint32_t count = 0;
    for (unsigned g = 0; g < meta->retired_count && count < query->limit; g++) {
        struct meta_gc_item *item = &items[count];
        *item = meta->retired[g];
        const struct extent *now = fake_meta_extent(meta, item->extent.id);
        item->extent.missing = 0;
        for (unsigned i = 0; i < (unsigned)item->extent.code.k + item->extent.code.m; i++) {
            bool named = now != NULL && now->group == item->extent.group && now->position[i] == item->extent.position[i] &&
                         i < (unsigned)now->code.k + now->code.m;
            item->extent.missing |= (uint32_t)!named << i;
        }
        count += item->seq >= query->from ? 1 : 0;
    }
    struct meta_gc_reply answer = { count, items };
    meta_gc_reply_encode(reply, &answer);
}

static void serve_repair(struct fake_meta *meta, struct enc *reply)
{
    struct extent found[FAKE_EXTENTS];
    uint32_t count = 0;
    for (unsigned i = 0; i < meta->extent_count; i++) {
        const struct extent *e = &meta->extents[i];
        if (e->missing != 0 || e->code.k != e->class_k || e->code.m != e->class_m) {
            found[count++] = *e;
        }
    }
    struct meta_repair_reply answer = { count, found };
    meta_repair_reply_encode(reply, &answer);
}

/* In the order of their making, which is that of their ids. */
static void serve_group_extents(struct fake_meta *meta, const struct meta_query *query, struct enc *reply)
{
    struct extent found[FAKE_EXTENTS];
    uint32_t count = 0;
    for (unsigned i = 0; i < meta->extent_count && count < 2; i++) { /* small pages */
        const struct extent *e = &meta->extents[i];
        if (e->group == query->from && memcmp(e->id.bytes, query->extent.bytes, ID_BYTES) > 0) {
            found[count++] = *e;
        }
    }
    struct meta_repair_reply answer = { count, found };
    meta_repair_reply_encode(reply, &answer);
}

static void serve_extents(struct fake_meta *meta, const struct meta_query *query, struct enc *reply)
{
    struct meta_object_reply answer = { .index = meta->index, .bucket.id = query->bucket_id };
    unsigned first = 0;
    while (first < meta->more_count &&
           meta->more[first].object_offset + meta->more[first].length <= query->range_first) {
        first++;
    }
    answer.extents = &meta->more[first];
    answer.extent_count = first + 2 <= meta->more_count ? 2 : meta->more_count - first; /* small pages */
    if (answer.extent_count > 0) {
        const struct meta_data_extent *last = &answer.extents[answer.extent_count - 1];
        answer.extents_until = last->object_offset + last->length;
    }
    meta_object_reply_encode(reply, &answer);
}

static enum errc serve_query(struct fake_meta *meta, struct rpc_call *call, struct arena *arena)
{
    struct meta_query query;
    enum errc rc = meta_query_decode(call->head, arena, &query);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (query.type == META_QRY_CLUSTER) {
        struct meta_cluster_reply answer = { .revision = 1 + meta->map_changes, .disk_count = meta->disk_count, .disks = meta->disks,
                                             .group_count = meta->group_count, .groups = meta->groups };
        meta_cluster_reply_encode(&call->reply, &answer);
    } else if (query.type == META_QRY_EXTENT) {
        struct extent *extent = fake_meta_extent(meta, query.extent);
        struct meta_extent_reply answer = { .outcome = extent == NULL ? META_NO_KEY : META_OK };
        if (extent != NULL) {
            answer.extent = *extent;
        }
        meta_extent_reply_encode(&call->reply, &answer);
    } else if (query.type == META_QRY_EXTENTS_EXIST) {
        serve_exist(meta, &query, &call->reply);
    } else if (query.type == META_QRY_GC) {
        serve_gc(meta, &query, &call->reply);
    } else if (query.type == META_QRY_RETIRED) {
        serve_retired(meta, &query, &call->reply);
    } else if (query.type == META_QRY_REPAIR) {
        serve_repair(meta, &call->reply);
    } else if (query.type == META_QRY_GROUP_EXTENTS) {
        serve_group_extents(meta, &query, &call->reply);
    } else if (query.type == META_QRY_EXTENTS) {
        serve_extents(meta, &query, &call->reply);
    } else if (query.type == META_QRY_SESSIONS) {
        struct meta_sessions_reply answer = { meta->session_count, meta->sessions };
        meta_sessions_reply_encode(&call->reply, &answer);
    } else {
        return ERRC_UNSUPPORTED;
    }
    return ERRC_OK;
}

static enum errc serve_renew(struct fake_meta *meta, struct rpc_call *call)
{
    struct dec dec = dec_of(call->head);
    struct meta_session *session = session_find(meta, dec_u64(&dec));
    meta->renew_oldest = dec_u64(&dec);
    if (!dec_done(&dec)) {
        return ERRC_CORRUPT;
    }
    if (session == NULL || !session->open) {
        return ERRC_NOT_FOUND;
    }
    enc_u64(&call->reply, meta->renew_oldest);
    enc_u64(&call->reply, ++meta->index); /* the seal of an idle voter */
    return ERRC_OK;
}

static void call_run(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct fake_meta *meta = call->service_data;
    if (meta->fail_next > 0) {
        meta->fail_next--;
        rpc_call_finish(call, meta->fail);
        return;
    }
    struct arena arena;
    arena_init(&arena, 4u << 20);
    enum errc rc = ERRC_UNSUPPORTED;
    if (call->method == RPC_META_PROPOSE) {
        rc = serve_command(meta, call, &arena);
    } else if (call->method == RPC_META_QUERY) {
        rc = serve_query(meta, call, &arena);
    } else if (call->method == RPC_META_SESSION_RENEW) {
        rc = serve_renew(meta, call);
    }
    arena_done(&arena);
    rpc_call_finish(call, rc);
}

static void channel_call(struct rpc_channel *channel, struct rpc_call *call)
{
    call->service_data = channel;
    call->task.run = call_run;
    executor_post(((struct fake_meta *)(void *)channel)->executor, &call->task);
}

static const struct rpc_channel_vt channel_vt = { channel_call };

void fake_meta_init(struct fake_meta *meta, struct executor *executor)
{
    memset(meta, 0, sizeof(*meta));
    meta->channel.vt = &channel_vt;
    meta->executor = executor;
    meta->index = 100;
    meta->next_session = 40;
}

void fake_meta_disks(struct fake_meta *meta, unsigned count)
{
    meta->disk_count = count;
    meta->group_count = 1;
    meta->groups[0] = (struct meta_group){ .id = 7, .epoch = 1, .disk_count = (uint8_t)count, .writable = true };
    for (unsigned i = 0; i < count; i++) {
        meta->disks[i] = (struct meta_disk){ .id = fake_disk_id(i), .state = META_DISK_IN, .bytes = 1u << 30,
                                             .path = slice_str("/disk") };
        meta->groups[0].disks[i] = fake_disk_id(i);
    }
}
