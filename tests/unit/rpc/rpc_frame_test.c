/*
 * Frames and HELLOs as bytes: round trips, every cut, every flipped bit, limits, versions.
 */
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct buffer *payload_of(size_t len, uint8_t seed)
{
    struct buffer *buffer = buffer_new(len > 0 ? len : 1);
    buffer->len = len;
    for (size_t i = 0; i < len; i++) {
        buffer->data[i] = (uint8_t)(i * 7 + seed);
    }
    return buffer;
}

/* A whole frame in one block. */
static struct enc frame_of(struct rpc_frame_header *header, const struct rpc_frame_parts *parts)
{
    struct enc enc = ENC_INIT;
    assert_int_equal(rpc_frame_prefix(header, parts, &enc, NULL), ERRC_OK);
    enc_raw(&enc, parts->head.data, parts->head.len);
    for (unsigned i = 0; i < parts->payload_count; i++) {
        enc_raw(&enc, parts->payloads[i]->data, parts->payloads[i]->len);
    }
    return enc;
}

/* Feeds bytes in pieces of at most `step`; the last event. */
static enum rpc_read_event feed(struct rpc_reader *reader, struct slice bytes, size_t step, bool discard)
{
    enum rpc_read_event event = RPC_READ_MORE;
    while (bytes.len > 0) {
        size_t room;
        uint8_t *target = rpc_reader_target(reader, &room);
        assert_true(room > 0);
        size_t len = bytes.len < room ? bytes.len : room;
        len = len < step ? len : step;
        memcpy(target, bytes.data, len);
        bytes = slice_skip(bytes, len);
        event = rpc_reader_received(reader, len, NULL);
        if (event == RPC_READ_HEADER) {
            if (discard) {
                rpc_reader_discard(reader);
            }
            event = rpc_reader_received(reader, 0, NULL);
        }
        if (event == RPC_READ_FAILED || (event == RPC_READ_FRAME && bytes.len > 0)) {
            return event;
        }
    }
    return event;
}

static void round_trip(size_t head_len, unsigned count, const size_t *lens, size_t step)
{
    struct buffer *payloads[RPC_PAYLOADS_MAX];
    for (unsigned i = 0; i < count; i++) {
        payloads[i] = payload_of(lens[i], (uint8_t)i);
    }
    uint8_t *head = mem_alloc(head_len + 1);
    memset(head, 'h', head_len);
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_REPLY, .call_id = UINT64_C(0x123456789abcdef0),
                                       .status = ERRC_NOT_FOUND, .deadline_ms = 77 };
    struct rpc_frame_parts parts = { slice_str("a story"), slice_of(head, head_len), payloads, count };
    struct enc enc = frame_of(&header, &parts);
    struct rpc_reader reader;
    struct rpc_frame frame;
    rpc_reader_init(&reader, 1);
    for (unsigned pass = 0; pass < 2; pass++) { /* two in a row: the reader starts over */
        assert_int_equal(feed(&reader, enc_slice(&enc), step, pass == 1), RPC_READ_FRAME);
        rpc_reader_take(&reader, &frame);
        assert_true(rpc_reader_is_between(&reader));
        assert_true(frame.header.call_id == header.call_id);
        assert_int_equal(frame.header.status, ERRC_NOT_FOUND);
        assert_int_equal(frame.header.deadline_ms, 77);
        assert_int_equal(frame.payload_count, pass == 0 ? count : 0);
        assert_string_equal(frame.text, pass == 0 ? "a story" : "");
        assert_true(pass == 0 || rpc_frame_body_bytes(&frame.header) == 0); /* no length of what is not there */
        if (pass == 0) {
            assert_true(slice_equal(slice_of(frame.head, frame.header.head_bytes), slice_of(head, head_len)));
            for (unsigned i = 0; i < count; i++) {
                assert_true(slice_equal(buffer_slice(frame.payloads[i]), buffer_slice(payloads[i])));
            }
        }
        rpc_frame_drop(&frame);
    }
    rpc_reader_done(&reader);
    enc_free(&enc);
    mem_free(head);
    for (unsigned i = 0; i < count; i++) {
        buffer_unref(payloads[i]);
    }
}

static void frames_round_trip(void **state)
{
    (void)state;
    const size_t none[] = { 0 };
    const size_t some[] = { 0, 1, 0, 0, 5000, 3, 0 };
    const size_t large[] = { RPC_PAYLOAD_BYTES_MAX };
    const size_t first_empty[] = { 0, 0, 9 };
    round_trip(0, 0, none, SIZE_MAX);
    round_trip(10, 1, none, SIZE_MAX);
    round_trip(0, 1, none, 1);
    round_trip(100, 7, some, SIZE_MAX);
    round_trip(100, 7, some, 1);
    round_trip(0, 3, first_empty, 5);
    round_trip(100, 7, some, 13);
    round_trip(RPC_HEAD_BYTES_MAX, 1, large, 100001);
    size_t most[RPC_PAYLOADS_MAX];
    for (unsigned i = 0; i < RPC_PAYLOADS_MAX; i++) {
        most[i] = i % 3;
    }
    round_trip(1, RPC_PAYLOADS_MAX, most, 7);
}

static struct enc small_frame(void)
{
    struct buffer *payloads[2] = { payload_of(20, 1), payload_of(11, 2) };
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_REQUEST, .call_id = 5, .method = 0x0206 };
    struct rpc_frame_parts parts = { SLICE_EMPTY, slice_str("the head"), payloads, 2 };
    struct enc enc = frame_of(&header, &parts);
    buffer_unref(payloads[0]);
    buffer_unref(payloads[1]);
    return enc;
}

static void no_cut_is_a_frame(void **state)
{
    (void)state;
    struct enc enc = small_frame();
    for (size_t len = 0; len < enc.len; len++) {
        struct rpc_reader reader;
        rpc_reader_init(&reader, 1);
        assert_int_equal(feed(&reader, slice_of(enc.data, len), SIZE_MAX, false), RPC_READ_MORE);
        rpc_reader_done(&reader);
    }
    enc_free(&enc);
}

static void every_flip_is_seen(void **state)
{
    (void)state;
    struct enc enc = small_frame();
    for (size_t bit = 0; bit < enc.len * 8; bit++) {
        struct rpc_reader reader;
        rpc_reader_init(&reader, 1);
        enc.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(feed(&reader, enc_slice(&enc), SIZE_MAX, false), RPC_READ_FAILED);
        enc.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rpc_reader_done(&reader);
    }
    enc_free(&enc);
}

static enum errc decode(const struct rpc_frame_header *header, struct error *e)
{
    uint8_t bytes[RPC_HEADER_BYTES];
    struct rpc_frame_header ret;
    rpc_frame_header_encode(header, bytes);
    return rpc_frame_header_decode(bytes, 1, &ret, e);
}

static void limits_hold(void **state)
{
    (void)state;
    const struct rpc_frame_header good = { .version = 1, .kind = RPC_FRAME_REQUEST, .head_bytes = RPC_HEAD_BYTES_MAX,
                                           .payload_bytes = RPC_PAYLOAD_BYTES_MAX, .payload_count = RPC_PAYLOADS_MAX };
    struct rpc_frame_header bad = good;
    assert_int_equal(decode(&good, NULL), ERRC_OK);
    bad.head_bytes++;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad = good;
    bad.payload_bytes++;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad = good;
    bad.payload_count++;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad.payload_count = 0;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad = good;
    bad.text_bytes = ERROR_TEXT_BYTES;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad = good;
    bad.status = ERRC_COUNT;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad = good;
    bad.kind = 0;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);
    bad.kind = RPC_FRAME_REPLY + 1;
    assert_int_equal(decode(&bad, NULL), ERRC_INVALID);

    struct enc enc = ENC_INIT;
    struct rpc_frame_header header = { .version = 1, .kind = RPC_FRAME_REQUEST };
    struct buffer *payloads[2] = { payload_of(RPC_PAYLOAD_BYTES_MAX, 1), payload_of(1, 2) };
    struct rpc_frame_parts parts = { .payloads = payloads, .payload_count = 2 };
    assert_int_equal(rpc_frame_prefix(&header, &parts, &enc, NULL), ERRC_INVALID);
    assert_int_equal(enc.len, 0);
    buffer_unref(payloads[0]);
    buffer_unref(payloads[1]);
    enc_free(&enc);
}

/* Lengths in the table that do not add up to the header's. */
static void payload_table_is_checked(void **state)
{
    (void)state;
    struct enc enc = small_frame();
    struct rpc_reader reader;
    rpc_reader_init(&reader, 1);
    store_le32(enc.data + RPC_HEADER_BYTES, UINT32_MAX);
    assert_int_equal(feed(&reader, enc_slice(&enc), SIZE_MAX, false), RPC_READ_FAILED);
    rpc_reader_done(&reader);
    assert_true(buffer_live_bytes() == 0);
    enc_free(&enc);
}

static void versions(void **state)
{
    (void)state;
    struct error e = ERROR_INIT;
    struct rpc_frame_header header = { .version = 9, .kind = RPC_FRAME_REQUEST };
    assert_int_equal(decode(&header, &e), ERRC_FORMAT);
    assert_non_null(strstr(e.text, "version 9"));
    assert_non_null(strstr(e.text, "version 1"));
    header.kind = RPC_FRAME_HELLO; /* read whatever its version */
    assert_int_equal(decode(&header, NULL), ERRC_OK);

    const struct rpc_hello ours = { 2, 5, { { 1 } }, { { 2 } }, "2.0" };
    struct rpc_hello theirs = { 6, 9, { { 1 } }, { { 3 } }, "3.0" };
    uint16_t version = 0;
    error_clear(&e);
    assert_int_equal(rpc_hello_agree(&ours, &theirs, &version, &e), ERRC_FORMAT);
    assert_non_null(strstr(e.text, "3.0) speaks protocol versions 6 to 9"));
    assert_non_null(strstr(e.text, "2.0) 2 to 5"));
    theirs.version_max = 1;
    theirs.version_min = 1;
    assert_int_equal(rpc_hello_agree(&ours, &theirs, &version, NULL), ERRC_FORMAT);
    theirs.version_max = 3;
    assert_int_equal(rpc_hello_agree(&ours, &theirs, &version, NULL), ERRC_OK);
    assert_int_equal(version, 3);
    theirs.version_max = 8;
    assert_int_equal(rpc_hello_agree(&ours, &theirs, &version, NULL), ERRC_OK);
    assert_int_equal(version, 5);
}

static void hellos(void **state)
{
    (void)state;
    const struct rpc_hello hello = { 1, 4, { { 1, 2 } }, { { 3, 4 } }, "0.1.0" };
    struct rpc_hello again;
    struct enc enc = ENC_INIT;
    rpc_hello_encode(&enc, &hello);
    assert_int_equal(rpc_hello_decode(enc_slice(&enc), &again, NULL), ERRC_OK);
    assert_int_equal(again.version_max, 4);
    assert_true(cluster_id_equal(again.cluster, hello.cluster));
    assert_true(node_id_equal(again.node, hello.node));
    assert_string_equal(again.program, "0.1.0");
    for (size_t len = 0; len < enc.len; len++) {
        assert_int_equal(rpc_hello_decode(slice_of(enc.data, len), &again, NULL), ERRC_INVALID);
    }
    enc_u64(&enc, 1); /* a later version's field */
    assert_int_equal(rpc_hello_decode(enc_slice(&enc), &again, NULL), ERRC_OK);
    enc.data[enc.len - 9] = '\n'; /* of the program's name */
    assert_int_equal(rpc_hello_decode(enc_slice(&enc), &again, NULL), ERRC_OK);
    assert_string_equal(again.program, "0.1.?");
    enc_free(&enc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_round_trip),        cmocka_unit_test(no_cut_is_a_frame),
        cmocka_unit_test(every_flip_is_seen),       cmocka_unit_test(limits_hold),
        cmocka_unit_test(payload_table_is_checked), cmocka_unit_test(versions),
        cmocka_unit_test(hellos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
