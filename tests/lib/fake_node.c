#include "tests/lib/fake_node.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "erasure/geometry.h"

#include <stdlib.h>

struct fake_shard {
    struct list node;
    struct extent_id extent;
    uint8_t index;
    struct extent_code code;
    uint64_t stored_bytes;
    uint32_t cell_count;
    uint32_t cells_written;
    uint8_t *bytes;
    size_t shard_bytes, filled;
    uint32_t *crcs;
    uint8_t *footer;
    size_t footer_bytes;
    bool durable;
    struct shard_header header; /* owner's key is not kept */
};

struct disk_id fake_disk_id(unsigned disk)
{
    struct disk_id id = { { 0 } };
    id.bytes[0] = 0xD1;
    id.bytes[15] = (uint8_t)(disk + 1);
    return id;
}

struct fake_disk *fake_node_disk(struct fake_node *node, struct disk_id disk)
{
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        if (disk_id_equal(node->disks[i].id, disk)) {
            return &node->disks[i];
        }
    }
    return NULL;
}

static void shard_free(struct fake_shard *shard)
{
    list_remove(&shard->node);
    mem_free(shard->bytes);
    mem_free(shard->crcs);
    mem_free(shard->footer);
    mem_free(shard);
}

static struct fake_shard *shard_find(const struct fake_disk *disk, struct extent_id extent, unsigned index)
{
    list_for_each(at, &disk->shards) {
        struct fake_shard *shard = container_of(at, struct fake_shard, node);
        if (extent_id_equal(shard->extent, extent) && shard->index == index) {
            return shard;
        }
    }
    return NULL;
}

static struct fake_shard *shard_new(struct fake_disk *disk, const struct shard_header *header)
{
    struct geometry g;
    if (geometry_init(&g, header->stored_bytes, &header->code) != ERRC_OK || g.shard_bytes != header->shard_bytes ||
        g.stripe_count != header->cell_count) {
        return NULL;
    }
    struct fake_shard *shard = mem_zalloc(sizeof(*shard));
    shard->extent = header->extent;
    shard->index = header->index;
    shard->header = *header;
    shard->header.owner.key = SLICE_EMPTY;
    shard->code = header->code;
    shard->stored_bytes = header->stored_bytes;
    shard->cell_count = header->cell_count;
    shard->shard_bytes = header->shard_bytes;
    shard->bytes = mem_zalloc(header->shard_bytes);
    shard->crcs = mem_zalloc(header->cell_count * sizeof(uint32_t));
    list_append(&disk->shards, &shard->node);
    return shard;
}

static enum errc shard_cells(struct fake_shard *shard, const struct rpc_call *call, uint32_t first, struct slice crcs)
{
    struct geometry g;
    if (geometry_init(&g, shard->stored_bytes, &shard->code) != ERRC_OK || first != shard->cells_written) {
        return ERRC_INVALID;
    }
    for (unsigned i = 0; i < call->payload_count; i++) {
        struct slice bytes = buffer_slice(call->payloads[i]);
        if (shard->filled + bytes.len > shard->shard_bytes) {
            return ERRC_INVALID;
        }
        memcpy(shard->bytes + shard->filled, bytes.data, bytes.len);
        shard->filled += bytes.len;
    }
    for (uint32_t i = 0; i < crcs.len / 4; i++) {
        uint32_t cell = first + i;
        if (cell >= shard->cell_count) {
            return ERRC_INVALID;
        }
        shard->crcs[cell] = load_le32(crcs.data + i * 4);
        if (crc32c(shard->bytes + geometry_cell_offset(&g, cell), geometry_stripe_cell_bytes(&g, cell)) !=
            shard->crcs[cell]) {
            return ERRC_CORRUPT;
        }
        shard->cells_written++;
    }
    return ERRC_OK;
}

static void footer_set(struct fake_shard *shard, struct slice footer)
{
    shard->footer = (uint8_t *)mem_strndup((const char *)footer.data, footer.len);
    shard->footer_bytes = footer.len;
    shard->durable = true;
}

static enum errc serve_put(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_put m;
    if (node_shard_put_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    struct fake_disk *disk = fake_node_disk(node, m.disk);
    node->puts++;
    if (shard_find(disk, m.header.extent, m.header.index) != NULL) {
        return ERRC_EXISTS;
    }
    struct fake_shard *shard = shard_new(disk, &m.header);
    if (shard == NULL) {
        return ERRC_INVALID;
    }
    enum errc rc = shard_cells(shard, call, 0, m.cell_crcs);
    if (rc == ERRC_OK && (shard->cells_written != shard->cell_count || shard->filled != shard->shard_bytes)) {
        rc = ERRC_INVALID;
    }
    if (rc != ERRC_OK) {
        shard_free(shard);
        return rc;
    }
    footer_set(shard, m.footer);
    return ERRC_OK;
}

static enum errc serve_open(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_open m;
    if (node_shard_open_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    node->opens++;
    if (shard_find(fake_node_disk(node, m.disk), m.header.extent, m.header.index) != NULL) {
        return ERRC_EXISTS;
    }
    return shard_new(fake_node_disk(node, m.disk), &m.header) == NULL ? ERRC_INVALID : ERRC_OK;
}

static enum errc serve_write(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_write m;
    if (node_shard_write_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), m.extent, m.index);
    return shard == NULL ? ERRC_NOT_FOUND : shard_cells(shard, call, m.first_cell, m.cell_crcs);
}

static enum errc serve_commit(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_commit m;
    if (node_shard_commit_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    node->commits++;
    struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), m.extent, m.index);
    if (shard == NULL || shard->durable || shard->cells_written != shard->cell_count) {
        return ERRC_INVALID;
    }
    footer_set(shard, m.footer);
    return ERRC_OK;
}

static enum errc serve_abort(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_name m;
    if (node_shard_name_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    node->aborts++;
    struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), m.extent, m.index);
    if (shard != NULL && !shard->durable) {
        shard_free(shard);
    }
    return ERRC_OK;
}

static enum errc serve_read(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_read m;
    if (node_shard_read_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    struct fake_disk *disk = fake_node_disk(node, m.disk);
    node->reads++;
    node->cells_read += m.cell_count;
    if (disk->limit_next > 0) {
        disk->limit_next--;
        return ERRC_LIMIT;
    }
    struct fake_shard *shard = shard_find(disk, m.extent, m.index);
    struct geometry g;
    if (shard == NULL || !shard->durable || geometry_init(&g, shard->stored_bytes, &shard->code) != ERRC_OK) {
        return ERRC_NOT_FOUND;
    }
    if (m.cell_count == 0 || m.first_cell + m.cell_count > shard->cell_count) {
        return ERRC_INVALID;
    }
    uint32_t last = m.first_cell + m.cell_count - 1;
    uint64_t from = geometry_cell_offset(&g, m.first_cell);
    uint64_t end = geometry_cell_offset(&g, last) + geometry_stripe_cell_bytes(&g, last);
    struct buffer *buffer = buffer_new(end - from);
    memcpy(buffer->data, shard->bytes + from, end - from);
    buffer->len = end - from;
    uint8_t crcs[512];
    ASSERT(m.cell_count <= 128);
    for (uint32_t i = 0; i < m.cell_count; i++) {
        store_le32(crcs + (size_t)i * 4, shard->crcs[m.first_cell + i]);
    }
    struct node_shard_read_reply reply = { slice_of(crcs, (size_t)m.cell_count * 4), shard->code.cell_bytes,
                                           shard->cell_count };
    node_shard_read_reply_encode(&call->reply, &reply);
    call->reply_payloads[call->reply_payload_count++] = buffer;
    return ERRC_OK;
}

static enum errc serve_stat(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_name m;
    if (node_shard_name_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), m.extent, m.index);
    if (shard == NULL || !shard->durable) {
        return ERRC_NOT_FOUND;
    }
    struct node_shard_stat_reply reply = { .header = shard->header, .footer = slice_of(shard->footer, shard->footer_bytes) };
    node_shard_stat_reply_encode(&call->reply, &reply);
    return ERRC_OK;
}

static enum errc serve_verify(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_name m;
    if (node_shard_name_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    const struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), m.extent, m.index);
    struct geometry g;
    if (shard != NULL && geometry_init(&g, shard->stored_bytes, &shard->code) == ERRC_OK) {
        for (uint32_t i = 0; i < shard->cell_count; i++) {
            if (crc32c(shard->bytes + geometry_cell_offset(&g, i), geometry_stripe_cell_bytes(&g, i)) != shard->crcs[i]) {
                return ERRC_CORRUPT;
            }
        }
    }
    return serve_stat(node, call);
}

static enum errc serve_free(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_free m;
    if (node_shard_free_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    node->frees++;
    for (uint32_t i = 0; i < m.count; i++) {
        struct extent_id id;
        memcpy(id.bytes, m.names.data + i * (ID_BYTES + 1), ID_BYTES);
        struct fake_shard *shard = shard_find(fake_node_disk(node, m.disk), id, m.names.data[i * (ID_BYTES + 1) + ID_BYTES]);
        if (shard != NULL && shard->durable) {
            shard_free(shard);
        }
    }
    return ERRC_OK;
}

static int name_compare(const void *a, const void *b)
{
    return memcmp(a, b, ID_BYTES + 1);
}

static enum errc serve_list(struct fake_node *node, struct rpc_call *call)
{
    struct node_shard_list m;
    if (node_shard_list_decode(call->head, &m) != ERRC_OK) {
        return ERRC_INVALID;
    }
    uint8_t names[1000][ID_BYTES + 1];
    uint32_t count = 0;
    list_for_each(at, &fake_node_disk(node, m.disk)->shards) {
        struct fake_shard *shard = container_of(at, struct fake_shard, node);
        bool inside = memcmp(shard->extent.bytes, m.first.bytes, ID_BYTES) >= 0 &&
                      (extent_id_is_zero(m.end) || memcmp(shard->extent.bytes, m.end.bytes, ID_BYTES) < 0);
        if (shard->durable == (call->method == RPC_NODE_SHARD_LIST) && inside && count < 1000) {
            memcpy(names[count], shard->extent.bytes, ID_BYTES);
            names[count++][ID_BYTES] = shard->index;
        }
    }
    qsort(names, count, sizeof(names[0]), name_compare);
    uint32_t given = count < m.limit ? count : m.limit;
    struct node_shard_list_reply reply = { given, slice_of(names, given * sizeof(names[0])), given < count };
    node_shard_list_reply_encode(&call->reply, &reply);
    return ERRC_OK;
}

/* Every message begins with the disk, or carries it: found by the decoders above; here for the faults only. */
static struct disk_id disk_of(const struct rpc_call *call)
{
    struct disk_id id = { { 0 } };
    struct node_shard_put put;
    struct node_shard_open open_message;
    if (call->method == RPC_NODE_SHARD_PUT && node_shard_put_decode(call->head, &put) == ERRC_OK) {
        return put.disk;
    }
    if (call->method == RPC_NODE_SHARD_OPEN && node_shard_open_decode(call->head, &open_message) == ERRC_OK) {
        return open_message.disk;
    }
    memcpy(id.bytes, call->head.data, ID_BYTES);
    return id;
}

static enum errc serve(struct fake_node *node, struct rpc_call *call)
{
    switch (call->method) {
    case RPC_NODE_SHARD_PUT:    return serve_put(node, call);
    case RPC_NODE_SHARD_OPEN:   return serve_open(node, call);
    case RPC_NODE_SHARD_WRITE:  return serve_write(node, call);
    case RPC_NODE_SHARD_COMMIT: return serve_commit(node, call);
    case RPC_NODE_SHARD_ABORT:  return serve_abort(node, call);
    case RPC_NODE_SHARD_READ:   return serve_read(node, call);
    case RPC_NODE_SHARD_STAT:   return serve_stat(node, call);
    case RPC_NODE_SHARD_VERIFY: return serve_verify(node, call);
    case RPC_NODE_SHARD_FREE:   return serve_free(node, call);
    case RPC_NODE_SHARD_LIST:
    case RPC_NODE_SHARD_OPENS:  return serve_list(node, call);
    default:                    return ERRC_UNSUPPORTED;
    }
}

struct hung_call {
    struct list node;
    struct rpc_call *call;
};

static void call_serve(struct fake_node *node, struct rpc_call *call)
{
    struct fake_disk *disk = fake_node_disk(node, disk_of(call));
    ASSERT(disk != NULL);
    disk->calls++;
    if (disk->hangs) {
        struct hung_call *hung = mem_zalloc(sizeof(*hung));
        hung->call = call;
        list_append(&node->hung, &hung->node);
        return;
    }
    if (disk->fail != ERRC_OK && disk->fail_after > 0) {
        disk->fail_after--;
    } else if (disk->fail != ERRC_OK) {
        rpc_call_finish(call, disk->fail);
        return;
    }
    rpc_call_finish(call, serve(node, call));
}

static void call_run(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    call_serve(call->service_data, call);
}

static void channel_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct fake_node *node = (struct fake_node *)(void *)channel;
    call->service_data = node;
    call->task.run = call_run;
    executor_post(node->executor, &call->task);
}

static const struct rpc_channel_vt channel_vt = { channel_call };

void fake_node_init(struct fake_node *node, struct executor *executor)
{
    memset(node, 0, sizeof(*node));
    node->channel.vt = &channel_vt;
    node->executor = executor;
    list_init(&node->hung);
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        node->disks[i].id = fake_disk_id(i);
        list_init(&node->disks[i].shards);
    }
}

void fake_node_wipe(struct fake_node *node, unsigned disk)
{
    while (!list_empty(&node->disks[disk].shards)) {
        shard_free(container_of(node->disks[disk].shards.next, struct fake_shard, node));
    }
}

void fake_node_done(struct fake_node *node)
{
    ASSERT(list_empty(&node->hung));
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        fake_node_wipe(node, i);
    }
}

void fake_node_release(struct fake_node *node)
{
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        node->disks[i].hangs = false;
    }
    for (struct list *at = list_pop(&node->hung); at != NULL; at = list_pop(&node->hung)) {
        struct hung_call *hung = container_of(at, struct hung_call, node);
        call_serve(node, hung->call);
        mem_free(hung);
    }
}

static unsigned shards_counted(const struct fake_node *node, bool durable)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        list_for_each(at, &node->disks[i].shards) {
            count += container_of(at, struct fake_shard, node)->durable == durable;
        }
    }
    return count;
}

unsigned fake_node_reopen(struct fake_node *node, struct extent_id extent)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        list_for_each(at, &node->disks[i].shards) {
            struct fake_shard *shard = container_of(at, struct fake_shard, node);
            bool reopens = shard->durable && extent_id_equal(shard->extent, extent);
            shard->durable = shard->durable && !reopens;
            count += reopens;
        }
    }
    return count;
}

unsigned fake_node_shards(const struct fake_node *node)
{
    return shards_counted(node, true);
}

unsigned fake_node_open_shards(const struct fake_node *node)
{
    return shards_counted(node, false);
}

static struct fake_shard *anywhere(const struct fake_node *node, struct extent_id extent, unsigned index)
{
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        struct fake_shard *shard = shard_find(&node->disks[i], extent, index);
        if (shard != NULL && shard->durable) {
            return shard;
        }
    }
    return NULL;
}

bool fake_node_corrupt(struct fake_node *node, struct extent_id extent, unsigned index, uint64_t at)
{
    struct fake_shard *shard = anywhere(node, extent, index);
    if (shard != NULL) {
        shard->bytes[at % shard->shard_bytes] ^= 0x04;
    }
    return shard != NULL;
}

unsigned fake_node_copies(const struct fake_node *node, struct extent_id extent, unsigned index)
{
    unsigned count = 0;
    for (unsigned i = 0; i < FAKE_DISKS; i++) {
        count += shard_find(&node->disks[i], extent, index) != NULL;
    }
    return count;
}

bool fake_node_drop(struct fake_node *node, struct extent_id extent, unsigned index)
{
    struct fake_shard *shard = anywhere(node, extent, index);
    if (shard != NULL) {
        shard_free(shard);
    }
    return shard != NULL;
}

bool fake_node_has(const struct fake_node *node, struct extent_id extent, unsigned index, struct slice *ret_footer)
{
    const struct fake_shard *shard = anywhere(node, extent, index);
    if (shard != NULL && ret_footer != NULL) {
        *ret_footer = slice_of(shard->footer, shard->footer_bytes);
    }
    return shard != NULL;
}
