/*
 * Goal: every message of a storage node comes back as it was sent, and no cut or longer one is accepted.
 */
#include "common/base/mem.h"
#include "common/rpc/node_messages.h"
#include "common/rpc/rpc_schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct shard_header header_example(void)
{
    struct shard_header header = {
        .index = 5,
        .code = { .matrix = MATRIX_CAUCHY, .k = 4, .m = 2, .cell_bytes = 128 << 10 },
        .transform = { .kind = 1 },
        .logical_bytes = 2000000,
        .stored_bytes = 2000000,
        .cell_count = 4,
        .shard_bytes = 500032,
        .owner = { .bucket_id = 9, .key = slice_str("k"), .session = 3, .part_number = 2, .object_offset = 1u << 30 },
    };
    memset(header.cluster.bytes, 1, ID_BYTES);
    memset(header.extent.bytes, 2, ID_BYTES);
    memset(header.transform.key_ref, 3, sizeof(header.transform.key_ref));
    return header;
}

/* Encodes, decodes, encodes again: both encodings are equal; every prefix and one byte more are refused. */
#define ROUND_TRIP(message, value)                                                       \
    do {                                                                                 \
        struct enc first = ENC_INIT;                                                     \
        struct enc second = ENC_INIT;                                                    \
        struct message *decoded = mem_zalloc(sizeof(*decoded));                          \
        message##_encode(&first, (value));                                               \
        assert_int_equal(message##_decode(enc_slice(&first), decoded), ERRC_OK);         \
        message##_encode(&second, decoded);                                              \
        assert_true(slice_equal(enc_slice(&first), enc_slice(&second)));                 \
        for (size_t cut = 0; cut < first.len; cut++) {                                   \
            assert_int_equal(message##_decode(slice_of(first.data, cut), decoded),       \
                             ERRC_CORRUPT);                                              \
        }                                                                                \
        enc_u8(&first, 0);                                                               \
        assert_int_equal(message##_decode(enc_slice(&first), decoded), ERRC_CORRUPT);    \
        enc_free(&first);                                                                \
        enc_free(&second);                                                               \
        mem_free(decoded);                                                               \
    } while (0)

static void every_message_round_trips(void **state)
{
    (void)state;
    uint8_t crcs[16] = { 1, 2, 3 };
    uint8_t names[34] = { 7 };
    struct node_shard_put put = {
        .header = header_example(),
        .cell_crcs = slice_of(crcs, 16),
        .footer = slice_str("f"),
    };
    ROUND_TRIP(node_shard_put, &put);
    struct node_shard_open open = { .header = header_example() };
    ROUND_TRIP(node_shard_open, &open);
    struct node_shard_write write = { .index = 1, .first_cell = 300, .cell_crcs = slice_of(crcs, 8) };
    ROUND_TRIP(node_shard_write, &write);
    struct node_shard_commit commit = { .index = 1, .footer = slice_str("foot") };
    ROUND_TRIP(node_shard_commit, &commit);
    struct node_shard_name name = { .index = 21 };
    ROUND_TRIP(node_shard_name, &name);
    struct node_shard_read read = { .index = 2, .first_cell = 1, .cell_count = 3 };
    ROUND_TRIP(node_shard_read, &read);
    struct node_shard_read_reply read_reply = { .cell_crcs = slice_of(crcs, 12), .cell_bytes = 64 };
    ROUND_TRIP(node_shard_read_reply, &read_reply);
    struct node_shard_stat_reply stat = { .header = header_example(), .segment = 1ull << 40, .offset = 4096 };
    ROUND_TRIP(node_shard_stat_reply, &stat);
    struct node_shard_free free_message = { .count = 2, .names = slice_of(names, 34) };
    ROUND_TRIP(node_shard_free, &free_message);
    struct node_shard_list list = { .limit = 1000 };
    ROUND_TRIP(node_shard_list, &list);
    struct node_shard_list_reply list_reply = { .count = 2, .names = slice_of(names, 34), .more = true };
    ROUND_TRIP(node_shard_list_reply, &list_reply);
    struct node_disk_status status = { .disk = { { 1 } } };
    ROUND_TRIP(node_disk_status, &status);
    struct node_disk_status_reply *status_reply = mem_zalloc(sizeof(*status_reply));
    status_reply->count = 2;
    status_reply->entries[0].state = DISK_ONLINE;
    status_reply->entries[1] = (struct node_disk_status_entry){
        .state = DISK_FENCED, .path = slice_str("/d"), .reason = slice_str("gone"), .scrub_age_ms = UINT64_MAX };
    ROUND_TRIP(node_disk_status_reply, status_reply);
    mem_free(status_reply);
}

static enum errc decode_header(struct shard_header header, size_t at, uint8_t value)
{
    struct enc enc = ENC_INIT;
    struct node_shard_open message = { .header = header };
    struct node_shard_open decoded;
    node_shard_open_encode(&enc, &message);
    enc.data[ID_BYTES + at] = value;
    enum errc rc = node_shard_open_decode(enc_slice(&enc), &decoded);
    enc_free(&enc);
    return rc;
}

static void a_header_that_cannot_be_is_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_header(header_example(), 32, 5), ERRC_OK);       /* index */
    assert_int_equal(decode_header(header_example(), 32, 6), ERRC_CORRUPT);  /* k + m */
    assert_int_equal(decode_header(header_example(), 33, 9), ERRC_CORRUPT);  /* matrix */
    assert_int_equal(decode_header(header_example(), 34, 17), ERRC_CORRUPT); /* k */
    assert_int_equal(decode_header(header_example(), 35, 7), ERRC_CORRUPT);  /* m */
}

static void methods_have_names(void **state)
{
    (void)state;
    assert_string_equal(rpc_method_name(RPC_NODE_SHARD_PUT), "NODE_SHARD_PUT");
    assert_string_equal(rpc_method_name(9), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_round_trips),
        cmocka_unit_test(a_header_that_cannot_be_is_refused),
        cmocka_unit_test(methods_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
