/*
 * Goal: the aws-chunked decoder yields the payload for every way the bytes may arrive, and refuses a
 * stream in which anything was dropped, swapped, repeated, cut or added.
 * Method: the published streams, pushed split at each position; then bent ones.
 */
#include "gateway/auth/auth_chunked.h"

#include "common/base/hex.h"
#include "common/base/mem.h"
#include "gateway/auth/auth_sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define OBJECT_BYTES 66560u
#define STREAM_MAX (1u << 18)
#define LAST_BYTES 1024u

struct stream {
    uint8_t *data;
    size_t len;
};

static uint8_t bytes_a[OBJECT_BYTES];

static struct auth_result result_of(enum auth_payload mode, uint64_t decoded_bytes)
{
    struct auth_result result = { .payload = mode, .decoded_bytes = decoded_bytes };
    bool has_trailer = mode != AUTH_PAYLOAD_CHUNKS_SIGNED;
    auth_signing_key(slice_str("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), slice_str("20130524"),
                     slice_str("us-east-1"), slice_str("s3"), result.signing_key);
    (void)snprintf(result.seed_signature, sizeof(result.seed_signature), "%s",
                   has_trailer ? "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
                               : "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    (void)snprintf(result.date, sizeof(result.date), "20130524T000000Z");
    (void)snprintf(result.scope, sizeof(result.scope), "20130524/us-east-1/s3/aws4_request");
    result.trailer_name = has_trailer ? slice_str("x-amz-checksum-crc32c") : SLICE_EMPTY;
    return result;
}

static void add(struct stream *stream, const void *data, size_t len)
{
    assert_true(stream->len + len <= STREAM_MAX);
    memcpy(stream->data + stream->len, data, len);
    stream->len += len;
}

static void add_text(struct stream *stream, const char *text)
{
    add(stream, text, strlen(text));
}

static void add_chunk(struct stream *stream, size_t len, const char *signature)
{
    char line[128];
    if (signature != NULL) {
        (void)snprintf(line, sizeof(line), "%zx;chunk-signature=%s\r\n", len, signature);
    } else {
        (void)snprintf(line, sizeof(line), "%zx\r\n", len);
    }
    add_text(stream, line);
    add(stream, bytes_a, len);
    if (len > 0) {
        add_text(stream, "\r\n");
    }
}

static const char *const plain_signatures[] = {
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
};
static const char *const trailer_signatures[] = {
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
};
#define TRAILER "x-amz-checksum-crc32c:sOO8/Q==\r\n"
#define TRAILER_SIGNATURE "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"

static struct stream stream_of(enum auth_payload mode)
{
    struct stream stream = { mem_alloc(STREAM_MAX), 0 };
    const char *const none[3] = { NULL, NULL, NULL };
    const char *const *signatures = mode == AUTH_PAYLOAD_CHUNKS_SIGNED           ? plain_signatures
                                    : mode == AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER ? trailer_signatures
                                                                                 : none;
    add_chunk(&stream, 65536, signatures[0]);
    add_chunk(&stream, LAST_BYTES, signatures[1]);
    add_chunk(&stream, 0, signatures[2]);
    if (mode != AUTH_PAYLOAD_CHUNKS_SIGNED) {
        add_text(&stream, TRAILER);
    }
    if (mode == AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER) {
        add_text(&stream, TRAILER_SIGNATURE);
    }
    add_text(&stream, "\r\n");
    return stream;
}

static enum s3_error push_all(struct auth_chunked *decoder, struct slice piece, uint64_t *payload_bytes)
{
    while (piece.len > 0) {
        struct slice payload;
        enum s3_error code = auth_chunked_push(decoder, &piece, &payload, NULL);
        if (code != S3_ERROR_NONE) {
            return code;
        }
        for (size_t i = 0; i < payload.len; i += 97) {
            assert_int_equal(payload.data[i], 'a');
        }
        *payload_bytes += payload.len;
    }
    return S3_ERROR_NONE;
}

/* Pushes the stream in two pieces and ends it. */
static enum s3_error decode(const struct auth_result *result, const struct stream *stream, size_t split,
                            uint64_t *ret_bytes)
{
    struct auth_chunked decoder;
    *ret_bytes = 0;
    auth_chunked_init(&decoder, result);
    enum s3_error code = push_all(&decoder, slice_of(stream->data, split), ret_bytes);
    if (code == S3_ERROR_NONE) {
        code = push_all(&decoder, slice_of(stream->data + split, stream->len - split), ret_bytes);
    }
    if (code == S3_ERROR_NONE) {
        code = auth_chunked_finish(&decoder, NULL);
    }
    if (code == S3_ERROR_NONE && decoder.has_trailer) {
        assert_true(slice_equal_str(auth_chunked_trailer(&decoder), "sOO8/Q=="));
    }
    auth_chunked_done(&decoder);
    return code;
}

static void expect(const struct auth_result *result, const struct stream *stream, enum s3_error wanted)
{
    uint64_t bytes;
    enum s3_error code = decode(result, stream, stream->len / 2, &bytes);
    assert_string_equal(s3_error_code(code), s3_error_code(wanted));
}

static const enum auth_payload modes[] = { AUTH_PAYLOAD_CHUNKS_SIGNED, AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER,
                                           AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER };

static void every_split_of_the_vectors_decodes(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct stream stream = stream_of(modes[m]);
        struct auth_result result = result_of(modes[m], OBJECT_BYTES);
        uint64_t bytes;
        /* Every position of the framing; inside the long chunk only some: its bytes are alike. */
        for (size_t split = 0; split <= stream.len; split += split > 200 && split < 65500 ? 997 : 1) {
            assert_int_equal(decode(&result, &stream, split, &bytes), S3_ERROR_NONE);
            assert_int_equal(bytes, OBJECT_BYTES);
        }
        mem_free(stream.data);
    }
}

static void single_bytes_decode(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct stream stream = stream_of(modes[m]);
        struct auth_result result = result_of(modes[m], OBJECT_BYTES);
        struct auth_chunked decoder;
        uint64_t bytes = 0;
        auth_chunked_init(&decoder, &result);
        for (size_t i = 0; i < stream.len; i++) {
            assert_int_equal(push_all(&decoder, slice_of(stream.data + i, 1), &bytes), S3_ERROR_NONE);
        }
        assert_int_equal(auth_chunked_finish(&decoder, NULL), S3_ERROR_NONE);
        assert_int_equal(bytes, OBJECT_BYTES);
        auth_chunked_done(&decoder);
        mem_free(stream.data);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct stream stream = stream_of(modes[m]);
        struct auth_result result = result_of(modes[m], OBJECT_BYTES);
        size_t whole = stream.len;
        uint64_t bytes;
        for (size_t len = 0; len < whole; len += len > 200 && len < 65500 ? 997 : 1) {
            stream.len = len;
            assert_int_not_equal(decode(&result, &stream, len / 2, &bytes), S3_ERROR_NONE);
        }
        mem_free(stream.data);
    }
}

static void every_changed_byte_of_a_signed_stream_is_refused(void **state)
{
    (void)state;
    for (size_t m = 0; m < 2; m++) {
        struct stream stream = stream_of(modes[m]);
        struct auth_result result = result_of(modes[m], OBJECT_BYTES);
        for (size_t at = 0; at < stream.len; at += at > 200 && at < 65500 ? 9973 : 1) {
            uint8_t old = stream.data[at];
            stream.data[at] = old ^ 1;
            struct auth_chunked decoder;
            auth_chunked_init(&decoder, &result);
            struct slice rest = slice_of(stream.data, stream.len);
            enum s3_error code = S3_ERROR_NONE;
            while (rest.len > 0 && code == S3_ERROR_NONE) {
                struct slice payload;
                code = auth_chunked_push(&decoder, &rest, &payload, NULL);
            }
            code = code == S3_ERROR_NONE ? auth_chunked_finish(&decoder, NULL) : code;
            assert_int_not_equal(code, S3_ERROR_NONE);
            auth_chunked_done(&decoder);
            stream.data[at] = old;
        }
        mem_free(stream.data);
    }
}

static struct stream stream_begin(void)
{
    return (struct stream){ mem_alloc(STREAM_MAX), 0 };
}

static void dropped_repeated_and_swapped_chunks_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint8_t order[5]; /* chunk numbers from 1, 3 is the end */
        enum s3_error code;
    } rows[] = {
        { { 1, 2, 3 }, S3_ERROR_NONE },
        { { 2, 1, 3 }, S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { { 1, 3 }, S3_ERROR_INCOMPLETE_BODY },
        { { 2, 3 }, S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { { 3 }, S3_ERROR_INCOMPLETE_BODY },
        { { 1, 1, 3 }, S3_ERROR_INCOMPLETE_BODY },
        { { 1, 2, 2, 3 }, S3_ERROR_INVALID_CHUNK_SIZE },
        { { 1, 2, 3, 3 }, S3_ERROR_MALFORMED_TRAILER },
        { { 1, 2 }, S3_ERROR_INCOMPLETE_BODY },
    };
    struct auth_result result = result_of(AUTH_PAYLOAD_CHUNKS_SIGNED, OBJECT_BYTES);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stream stream = stream_begin();
        for (size_t k = 0; rows[i].order[k] != 0; k++) {
            static const size_t sizes[] = { 65536, LAST_BYTES, 0 };
            unsigned chunk = rows[i].order[k] - 1u;
            add_chunk(&stream, sizes[chunk], plain_signatures[chunk]);
        }
        add_text(&stream, "\r\n");
        expect(&result, &stream, rows[i].code);
        mem_free(stream.data);
    }
}

static void bent_framing_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t decoded;
        enum s3_error code;
    } rows[] = {
        { "3\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_NONE },
        { "0003\r\naaa\r\n00\r\n" TRAILER "\r\n", 3, S3_ERROR_NONE },
        { "0\r\n" TRAILER "\r\n", 0, S3_ERROR_NONE },
        { "0\r\nx-amz-checksum-crc32c:sOO8/Q==\n\r\n\r\n", 0, S3_ERROR_NONE }, /* older clients */
        { "0\r\nx-amz-checksum-crc32c:sOO8/Q==\n\r\n", 0, S3_ERROR_NONE },
        { "0\r\nX-Amz-Checksum-Crc32c: sOO8/Q== \r\n\r\n", 0, S3_ERROR_NONE },
        { "0\r\n" TRAILER "\r\n\r\n", 0, S3_ERROR_INCOMPLETE_BODY },
        { "0\r\n" TRAILER "\r\nx", 0, S3_ERROR_INCOMPLETE_BODY },
        { "0\r\n\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "0\r\n" TRAILER TRAILER "\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "0\r\nx-amz-checksum-crc32:sOO8/Q==\r\n\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "0\r\nx-amz-checksum-crc32c\r\n\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "0\r\nx-amz-checksum-crc32c:\r\n\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "0\r\n" TRAILER TRAILER_SIGNATURE "\r\n", 0, S3_ERROR_MALFORMED_TRAILER }, /* in an unsigned mode */
        { "0\r\n" TRAILER "x-amz-meta-a:b\r\n\r\n", 0, S3_ERROR_MALFORMED_TRAILER },
        { "3\r\naaa0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "3\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "3 \r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "-3\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "0x3\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "3;x=y\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "3\r\naaa\r\n0\r\n" TRAILER "\r\n", 4, S3_ERROR_INCOMPLETE_BODY },
        { "3\r\naaa\r\n0\r\n" TRAILER "\r\n", 2, S3_ERROR_INCOMPLETE_BODY },
        { "3\r\naaa\r\n1\r\na\r\n0\r\n" TRAILER "\r\n", 4, S3_ERROR_INVALID_CHUNK_SIZE },
        { "10000000000000003\r\naaa\r\n0\r\n" TRAILER "\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
        { "ffffffffffffffff\r\naaa\r\n", 3, S3_ERROR_INCOMPLETE_BODY },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct stream stream = stream_begin();
        struct auth_result result = result_of(AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER, rows[i].decoded);
        add_text(&stream, rows[i].text);
        expect(&result, &stream, rows[i].code);
        mem_free(stream.data);
    }
}

static void a_signed_mode_needs_signatures(void **state)
{
    (void)state;
    struct stream stream = stream_of(AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER);
    struct auth_result result = result_of(AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER, OBJECT_BYTES);
    expect(&result, &stream, S3_ERROR_SIGNATURE_DOES_NOT_MATCH);
    mem_free(stream.data);
    stream = stream_of(AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER);
    stream.len -= strlen(TRAILER_SIGNATURE) + 2;
    add_text(&stream, "\r\n");
    expect(&result, &stream, S3_ERROR_MALFORMED_TRAILER);
    mem_free(stream.data);
}

static void long_lines_are_refused(void **state)
{
    (void)state;
    struct stream stream = stream_begin();
    struct auth_result result = result_of(AUTH_PAYLOAD_CHUNKS_SIGNED, 3);
    for (int i = 0; i < 2000; i++) {
        add_text(&stream, "0");
    }
    expect(&result, &stream, S3_ERROR_INCOMPLETE_BODY);
    mem_free(stream.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_of_the_vectors_decodes),
        cmocka_unit_test(single_bytes_decode),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_changed_byte_of_a_signed_stream_is_refused),
        cmocka_unit_test(dropped_repeated_and_swapped_chunks_are_refused),
        cmocka_unit_test(bent_framing_is_refused),
        cmocka_unit_test(a_signed_mode_needs_signatures),
        cmocka_unit_test(long_lines_are_refused),
    };
    memset(bytes_a, 'a', sizeof(bytes_a));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
