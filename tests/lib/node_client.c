#include "tests/lib/node_client.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"

#include <stdio.h>
#include <time.h>


void node_client_wait_thread(struct node_client *client, atomic_bool *flag)
{
    (void)client;
    while (!atomic_load(flag)) {
        struct timespec pause = { .tv_nsec = 20000 };
        (void)nanosleep(&pause, NULL);
    }
}

static void on_disk_state(void *data, struct disk_id disk, enum disk_state state, const char *reason)
{
    struct node_client *client = data;
    (void)disk;
    (void)snprintf(client->reason, sizeof(client->reason), "%s", reason);
    atomic_store(&client->state, (int)state);
}

static void on_corrupt(void *data, struct disk_id disk, struct extent_id extent, uint8_t index)
{
    struct node_client *client = data;
    (void)disk;
    (void)extent;
    (void)index;
    atomic_fetch_add(&client->corrupt_count, 1);
}

struct node_callbacks node_client_callbacks(struct node_client *client)
{
    return (struct node_callbacks){ .on_disk_state = on_disk_state, .on_corrupt = on_corrupt, .data = client };
}

struct settle {
    struct timer timer;
    atomic_bool flag;
};

static void on_settled(struct task *task)
{
    struct settle *settle = container_of(task, struct settle, timer.task);
    atomic_store(&settle->flag, true);
}

struct settle_start {
    struct task task;
    struct settle *settle;
    struct executor *executor;
};

static void settle_run(struct task *task)
{
    struct settle_start *start = container_of(task, struct settle_start, task);
    timer_start(start->executor, &start->settle->timer, 1);
}

/* Lets about a millisecond pass. */
static void client_pause(struct node_client *client)
{
    struct settle settle = { .timer = { .task = { .run = on_settled }, .executor = client->home } };
    struct settle_start start = { .task = { .run = settle_run }, .settle = &settle, .executor = client->home };
    executor_post(client->home, &start.task);
    client->wait(client, &settle.flag);
}

enum disk_state node_client_wait_state(struct node_client *client)
{
    while (atomic_load(&client->state) == 0) {
        client_pause(client);
    }
    return (enum disk_state)atomic_load(&client->state);
}

struct extent_id test_extent(uint64_t id)
{
    struct extent_id extent;
    store_be64(extent.bytes, 7);
    store_be64(extent.bytes + 8, id);
    return extent;
}

struct shard_header test_shard_header(const struct node_client *client, const struct test_shard *shard)
{
    return (struct shard_header){
        .cluster = client->cluster,
        .extent = test_extent(shard->id),
        .index = (uint8_t)(shard->id % 6),
        .code = { .matrix = MATRIX_CAUCHY, .k = 4, .m = 2, .cell_bytes = shard->cell_bytes },
        .logical_bytes = 4ull * shard->bytes,
        .stored_bytes = 4ull * shard->bytes,
        .cell_count = (shard->bytes + shard->cell_bytes - 1) / shard->cell_bytes,
        .shard_bytes = shard->bytes,
        .owner = { .bucket_id = 3, .key = slice_str("a/key"), .session = 7 },
    };
}

void test_shard_fill(const struct test_shard *shard, uint8_t *bytes)
{
    uint64_t state = shard->id * 0x9e3779b97f4a7c15ull + shard->bytes;
    for (uint32_t i = 0; i < shard->bytes; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        bytes[i] = (uint8_t)(state >> 56);
    }
}

static void crcs_of(struct enc *enc, const uint8_t *bytes, size_t len, uint32_t cell_bytes)
{
    for (size_t at = 0; at < len; at += cell_bytes) {
        size_t cell = len - at < cell_bytes ? len - at : cell_bytes;
        enc_u32(enc, crc32c(bytes + at, cell));
    }
}

struct waiting_call {
    atomic_bool done;
};

static void on_done(struct rpc_call *call)
{
    struct waiting_call *waiting = call->data;
    atomic_store(&waiting->done, true);
}

enum errc node_client_call(struct node_client *client, struct rpc_call *call)
{
    struct waiting_call waiting = { .done = false };
    call->reply_to = client->home;
    call->done = on_done;
    call->data = &waiting;
    rpc_call_start(node_channel(client->node), call);
    client->wait(client, &waiting.done);
    if (call->status != ERRC_OK) {
        client->error = call->error;
    }
    return call->status;
}

static enum errc client_send(struct node_client *client, uint16_t method, struct enc *head,
                             struct buffer *payload)
{
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    call->method = method;
    call->head = enc_slice(head);
    if (payload != NULL) {
        call->payloads[0] = payload;
        call->payload_count = 1;
    }
    enum errc rc = node_client_call(client, call);
    rpc_call_release(call);
    mem_free(call);
    enc_free(head);
    return rc;
}

enum errc node_client_put(struct node_client *client, const struct test_shard *shard)
{
    struct buffer *payload = buffer_new(shard->bytes);
    payload->len = shard->bytes;
    test_shard_fill(shard, payload->data);
    struct enc crcs = ENC_INIT;
    struct enc head = ENC_INIT;
    crcs_of(&crcs, payload->data, payload->len, shard->cell_bytes);
    struct node_shard_put message = {
        .disk = client->disk,
        .header = test_shard_header(client, shard),
        .cell_crcs = enc_slice(&crcs),
        .footer = slice_str("footer"),
    };
    node_shard_put_encode(&head, &message);
    enum errc rc = client_send(client, RPC_NODE_SHARD_PUT, &head, payload);
    enc_free(&crcs);
    buffer_unref(payload);
    return rc;
}

static enum errc stream_piece(struct node_client *client, const struct test_shard *shard, const uint8_t *bytes,
                              uint32_t first, uint32_t cells)
{
    size_t start = (size_t)first * shard->cell_bytes;
    size_t len = (size_t)cells * shard->cell_bytes;
    len = start + len > shard->bytes ? shard->bytes - start : len;
    struct buffer *payload = buffer_new(len);
    memcpy(payload->data, bytes + start, len);
    payload->len = len;
    struct enc crcs = ENC_INIT;
    struct enc head = ENC_INIT;
    crcs_of(&crcs, payload->data, len, shard->cell_bytes);
    struct node_shard_write message = {
        .disk = client->disk,
        .extent = test_extent(shard->id),
        .index = (uint8_t)(shard->id % 6),
        .first_cell = first,
        .cell_crcs = enc_slice(&crcs),
    };
    node_shard_write_encode(&head, &message);
    enum errc rc = client_send(client, RPC_NODE_SHARD_WRITE, &head, payload);
    enc_free(&crcs);
    buffer_unref(payload);
    return rc;
}

enum errc node_client_open(struct node_client *client, const struct test_shard *shard)
{
    struct enc head = ENC_INIT;
    struct node_shard_open open = { .disk = client->disk, .header = test_shard_header(client, shard) };
    node_shard_open_encode(&head, &open);
    return client_send(client, RPC_NODE_SHARD_OPEN, &head, NULL);
}

enum errc node_client_stream(struct node_client *client, const struct test_shard *shard, uint32_t cells)
{
    struct enc head = ENC_INIT;
    struct node_shard_open open = { .header = test_shard_header(client, shard) };
    enum errc rc = node_client_open(client, shard);
    uint8_t *bytes = mem_alloc(shard->bytes);
    test_shard_fill(shard, bytes);
    for (uint32_t first = 0; rc == ERRC_OK && first < open.header.cell_count; first += cells) {
        rc = stream_piece(client, shard, bytes, first, cells);
    }
    mem_free(bytes);
    if (rc != ERRC_OK) {
        return rc;
    }
    head = (struct enc)ENC_INIT;
    struct node_shard_commit commit = {
        .disk = client->disk,
        .extent = test_extent(shard->id),
        .index = (uint8_t)(shard->id % 6),
        .footer = slice_str("footer"),
    };
    node_shard_commit_encode(&head, &commit);
    return client_send(client, RPC_NODE_SHARD_COMMIT, &head, NULL);
}

static bool reply_matches(const struct rpc_call *call, const struct test_shard *shard)
{
    uint8_t *bytes = mem_alloc(shard->bytes);
    test_shard_fill(shard, bytes);
    size_t at = 0;
    bool same = true;
    for (unsigned i = 0; i < call->reply_payload_count && same; i++) {
        struct slice part = buffer_slice(call->reply_payloads[i]);
        same = part.len <= shard->bytes - at && memcmp(part.data, bytes + at, part.len) == 0;
        at += part.len;
    }
    mem_free(bytes);
    struct node_shard_read_reply reply;
    same = same && node_shard_read_reply_decode(enc_slice(&call->reply), &reply) == ERRC_OK;
    return same && at == shard->bytes && reply.cell_bytes == shard->cell_bytes;
}

enum errc node_client_read(struct node_client *client, const struct test_shard *shard)
{
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    struct enc head = ENC_INIT;
    struct node_shard_read message = {
        .disk = client->disk,
        .extent = test_extent(shard->id),
        .index = (uint8_t)(shard->id % 6),
        .cell_count = (shard->bytes + shard->cell_bytes - 1) / shard->cell_bytes,
    };
    node_shard_read_encode(&head, &message);
    call->method = RPC_NODE_SHARD_READ;
    call->head = enc_slice(&head);
    enum errc rc = node_client_call(client, call);
    if (rc == ERRC_OK && !reply_matches(call, shard)) {
        rc = ERRC_INTERNAL;
    }
    rpc_call_release(call);
    mem_free(call);
    enc_free(&head);
    return rc;
}

enum errc node_client_free(struct node_client *client, const uint64_t *ids, uint32_t count)
{
    struct enc names = ENC_INIT;
    struct enc head = ENC_INIT;
    for (uint32_t i = 0; i < count; i++) {
        struct extent_id extent = test_extent(ids[i]);
        enc_raw(&names, extent.bytes, ID_BYTES);
        enc_u8(&names, (uint8_t)(ids[i] % 6));
    }
    struct node_shard_free message = { .disk = client->disk, .count = count, .names = enc_slice(&names) };
    node_shard_free_encode(&head, &message);
    enc_free(&names);
    return client_send(client, RPC_NODE_SHARD_FREE, &head, NULL);
}

enum errc node_client_name(struct node_client *client, uint16_t method, uint64_t id)
{
    struct enc head = ENC_INIT;
    struct node_shard_name message = {
        .disk = client->disk,
        .extent = test_extent(id),
        .index = (uint8_t)(id % 6),
    };
    node_shard_name_encode(&head, &message);
    return client_send(client, method, &head, NULL);
}

static uint32_t client_list(struct node_client *client, uint16_t method)
{
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    struct enc head = ENC_INIT;
    struct node_shard_list message = { .disk = client->disk, .limit = 10000 };
    struct node_shard_list_reply reply = { .count = 0 };
    node_shard_list_encode(&head, &message);
    call->method = method;
    call->head = enc_slice(&head);
    if (node_client_call(client, call) == ERRC_OK) {
        enum errc rc = node_shard_list_reply_decode(enc_slice(&call->reply), &reply);
        ASSERT(rc == ERRC_OK);
    }
    rpc_call_release(call);
    mem_free(call);
    enc_free(&head);
    return reply.count;
}

uint32_t node_client_list(struct node_client *client)
{
    return client_list(client, RPC_NODE_SHARD_LIST);
}

uint32_t node_client_opens(struct node_client *client)
{
    return client_list(client, RPC_NODE_SHARD_OPENS);
}

struct node_disk_status_entry node_client_status(struct node_client *client)
{
    struct rpc_call *call = mem_zalloc(sizeof(*call));
    struct enc head = ENC_INIT;
    struct node_disk_status message = { .disk = client->disk };
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    node_disk_status_encode(&head, &message);
    call->method = RPC_NODE_DISK_STATUS;
    call->head = enc_slice(&head);
    enum errc rc = node_client_call(client, call);
    ASSERT(rc == ERRC_OK);
    rc = node_disk_status_reply_decode(enc_slice(&call->reply), reply);
    ASSERT(rc == ERRC_OK);
    struct node_disk_status_entry entry = reply->entries[0];
    entry.path = SLICE_EMPTY;
    entry.reason = SLICE_EMPTY;
    rpc_call_release(call);
    mem_free(call);
    mem_free(reply);
    enc_free(&head);
    return entry;
}

static void on_closed(void *data)
{
    atomic_bool *flag = data;
    atomic_store(flag, true);
}

void node_client_close(struct node_client *client)
{
    atomic_bool closed = false;
    node_close(client->node, on_closed, &closed);
    client->wait(client, &closed);
    client->node = NULL;
}
