#include "gateway/auth/auth_chunked.h"

#include "common/base/assert.h"
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "gateway/auth/auth_sigv4.h"
#include "gateway/s3/s3_request.h"

#include <inttypes.h>
#include <stdio.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define STRING_TO_SIGN_BYTES 512 /* fixed texts, a date, a scope of at most 127 and three hashes */

void auth_chunked_init(struct auth_chunked *decoder, const struct auth_result *result)
{
    ASSERT(auth_payload_is_chunked(result->payload));
    ASSERT(result->trailer_name.len < sizeof(decoder->trailer_name));
    *decoder = (struct auth_chunked){ .state = AUTH_CHUNKED_SIZE_LINE, .mode = result->payload };
    decoder->is_signed = result->payload != AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER;
    decoder->has_trailer = result->payload != AUTH_PAYLOAD_CHUNKS_SIGNED;
    decoder->decoded_bytes = result->decoded_bytes;
    memcpy(decoder->signing_key, result->signing_key, SHA256_BYTES);
    memcpy(decoder->date, result->date, sizeof(decoder->date));
    memcpy(decoder->scope, result->scope, sizeof(decoder->scope));
    memcpy(decoder->previous, result->seed_signature, sizeof(decoder->previous));
    if (result->trailer_name.len > 0) {
        memcpy(decoder->trailer_name, result->trailer_name.data, result->trailer_name.len);
    }
    if (decoder->is_signed) {
        digest_init(&decoder->sha, DIGEST_SHA256);
    }
}

void auth_chunked_done(struct auth_chunked *decoder)
{
    digest_done(&decoder->sha);
    mem_wipe(decoder->signing_key, sizeof(decoder->signing_key));
}

static enum s3_error chunked_fail(struct auth_chunked *decoder, enum s3_error code, struct s3_error_info *err)
{
    decoder->state = AUTH_CHUNKED_FAILED;
    return s3_fail(err, code, NULL);
}

/* Checks `claimed` against the chain and moves the chain on. body: what follows the previous signature. */
static enum s3_error chunked_verify(struct auth_chunked *decoder, const char *algorithm, const char *body,
                                    struct slice claimed, struct s3_error_info *err)
{
    char text[STRING_TO_SIGN_BYTES];
    char computed[AUTH_SIGNATURE_BYTES + 1];
    int len = snprintf(text, sizeof(text), "%s\n%s\n%s\n%s\n%s", algorithm, decoder->date, decoder->scope,
                       decoder->previous, body);
    ASSERT(len > 0 && (size_t)len < sizeof(text));
    auth_signature(decoder->signing_key, slice_of(text, (size_t)len), computed);
    if (!auth_signature_equal(claimed, computed)) {
        return chunked_fail(decoder, S3_ERROR_SIGNATURE_DOES_NOT_MATCH, err);
    }
    memcpy(decoder->previous, computed, sizeof(decoder->previous));
    return S3_ERROR_NONE;
}

static enum s3_error chunked_verify_chunk(struct auth_chunked *decoder, struct s3_error_info *err)
{
    uint8_t hash[SHA256_BYTES];
    char body[2 * AUTH_SIGNATURE_BYTES + 2] = EMPTY_SHA256 "\n";
    if (!decoder->is_signed) {
        return S3_ERROR_NONE;
    }
    digest_final(&decoder->sha, hash);
    hex_encode(hash, sizeof(hash), body + AUTH_SIGNATURE_BYTES + 1);
    return chunked_verify(decoder, "AWS4-HMAC-SHA256-PAYLOAD", body,
                          slice_of(decoder->claimed, AUTH_SIGNATURE_BYTES), err);
}

/* hex-size[;chunk-signature=64hex], without CRLF. */
static enum s3_error chunked_size(struct auth_chunked *decoder, struct slice line, uint64_t *ret_bytes,
                                  struct s3_error_info *err)
{
    static const char extension[] = ";chunk-signature=";
    uint64_t bytes = 0;
    size_t digits = 0;
    while (digits < line.len && hex_digit((char)line.data[digits]) >= 0 && digits < 16) {
        bytes = bytes << 4 | (uint64_t)hex_digit((char)line.data[digits]);
        digits++;
    }
    struct slice rest = slice_skip(line, digits);
    if (digits == 0 || bytes > AUTH_CHUNK_BYTES_MAX || (rest.len > 0 && rest.data[0] != ';')) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    bool has_signature = slice_starts(rest, slice_str(extension)) &&
                         rest.len == sizeof(extension) - 1 + AUTH_SIGNATURE_BYTES;
    if (decoder->is_signed && !has_signature) {
        return chunked_fail(decoder, S3_ERROR_SIGNATURE_DOES_NOT_MATCH, err);
    }
    if (!decoder->is_signed && rest.len > 0) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    if (decoder->is_signed) {
        memcpy(decoder->claimed, rest.data + sizeof(extension) - 1, AUTH_SIGNATURE_BYTES);
    }
    *ret_bytes = bytes;
    return S3_ERROR_NONE;
}

static enum s3_error chunked_too_small(struct auth_chunked *decoder, struct s3_error_info *err)
{
    enum s3_error code = chunked_fail(decoder, S3_ERROR_INVALID_CHUNK_SIZE, err);
    (void)snprintf(decoder->number_text, sizeof(decoder->number_text), "%" PRIu64, decoder->chunk_number);
    (void)snprintf(decoder->bytes_text, sizeof(decoder->bytes_text), "%" PRIu64, decoder->small_bytes);
    s3_error_add(err, "Chunk", slice_str(decoder->number_text));
    s3_error_add(err, "BadChunkSize", slice_str(decoder->bytes_text));
    return code;
}

static enum s3_error chunked_size_line(struct auth_chunked *decoder, struct slice line, struct s3_error_info *err)
{
    uint64_t bytes = 0;
    enum s3_error code = chunked_size(decoder, line, &bytes, err);
    if (code != S3_ERROR_NONE) {
        return code;
    }
    if (bytes == 0) {
        if (decoder->seen_bytes != decoder->decoded_bytes) {
            return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
        }
        decoder->state = AUTH_CHUNKED_TRAILER;
        return chunked_verify_chunk(decoder, err);
    }
    if (decoder->after_small) {
        return chunked_too_small(decoder, err); /* the small chunk was not the last one */
    }
    if (bytes > decoder->decoded_bytes - decoder->seen_bytes) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    decoder->chunk_number++;
    decoder->after_small = bytes < AUTH_CHUNK_BYTES_MIN;
    decoder->small_bytes = bytes;
    decoder->seen_bytes += bytes;
    decoder->chunk_left = bytes;
    decoder->state = AUTH_CHUNKED_DATA;
    return S3_ERROR_NONE;
}

static enum s3_error chunked_trailer_signature(struct auth_chunked *decoder, struct slice value,
                                               struct s3_error_info *err)
{
    if (!decoder->is_signed || !decoder->trailer_seen || decoder->trailer_signature_seen) {
        return chunked_fail(decoder, S3_ERROR_MALFORMED_TRAILER, err);
    }
    char canonical[sizeof(decoder->trailer_name) + AUTH_TRAILER_VALUE_BYTES + 3];
    int len = snprintf(canonical, sizeof(canonical), "%s:%.*s\n", decoder->trailer_name,
                       (int)decoder->trailer_value_len, decoder->trailer_value);
    ASSERT(len > 0 && (size_t)len < sizeof(canonical));
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    sha256_once(canonical, (size_t)len, hash);
    hex_encode(hash, sizeof(hash), hex);
    decoder->trailer_signature_seen = true;
    return chunked_verify(decoder, "AWS4-HMAC-SHA256-TRAILER", hex, value, err);
}

static enum s3_error chunked_trailer_field(struct auth_chunked *decoder, struct slice line, struct s3_error_info *err)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (!decoder->has_trailer || colon == NULL) {
        return chunked_fail(decoder, S3_ERROR_MALFORMED_TRAILER, err);
    }
    struct slice name = slice_of(line.data, (size_t)(colon - line.data));
    struct slice value = s3_trim(slice_skip(line, name.len + 1));
    if (s3_name_equal(name, "x-amz-trailer-signature")) {
        return chunked_trailer_signature(decoder, value, err);
    }
    bool is_text = value.len > 0 && value.len <= AUTH_TRAILER_VALUE_BYTES;
    for (size_t i = 0; i < value.len; i++) {
        is_text = is_text && value.data[i] > ' ' && value.data[i] < 0x7f;
    }
    if (!s3_name_equal(name, decoder->trailer_name) || decoder->trailer_seen || !is_text) {
        return chunked_fail(decoder, S3_ERROR_MALFORMED_TRAILER, err);
    }
    memcpy(decoder->trailer_value, value.data, value.len);
    decoder->trailer_value_len = value.len;
    decoder->trailer_seen = true;
    return S3_ERROR_NONE;
}

static bool chunked_trailer_whole(const struct auth_chunked *decoder)
{
    return !decoder->has_trailer ||
           (decoder->trailer_seen && (decoder->trailer_signature_seen || !decoder->is_signed));
}

/*
 * One line after the zero chunk. Older clients end a trailer field with LF and put the CRLF after it;
 * such a CRLF completes the field and does not end the section.
 */
static enum s3_error chunked_trailer_line(struct auth_chunked *decoder, struct slice line, bool has_cr,
                                          struct s3_error_info *err)
{
    if (line.len > 0) {
        decoder->bare_lf = !has_cr;
        return chunked_trailer_field(decoder, line, err);
    }
    if (decoder->bare_lf) {
        decoder->bare_lf = false;
        decoder->soft_end = true;
        return S3_ERROR_NONE;
    }
    if (!has_cr) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    if (!chunked_trailer_whole(decoder)) {
        return chunked_fail(decoder, S3_ERROR_MALFORMED_TRAILER, err);
    }
    decoder->state = AUTH_CHUNKED_END;
    return S3_ERROR_NONE;
}

/* Collects a line; *ret_whole once its LF has come. The LF and a CR before it are not part of it. */
static enum s3_error chunked_collect(struct auth_chunked *decoder, struct slice *input, bool *ret_whole,
                                     struct s3_error_info *err)
{
    const uint8_t *lf = memchr(input->data, '\n', input->len);
    size_t len = lf == NULL ? input->len : (size_t)(lf - input->data);
    *ret_whole = lf != NULL;
    if (len > sizeof(decoder->line) - decoder->line_len) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    if (len > 0) {
        memcpy(decoder->line + decoder->line_len, input->data, len);
    }
    decoder->line_len += len;
    *input = slice_skip(*input, len + (lf != NULL));
    return S3_ERROR_NONE;
}

static enum s3_error chunked_line(struct auth_chunked *decoder, struct slice *input, struct s3_error_info *err)
{
    bool is_whole = false;
    enum s3_error code = chunked_collect(decoder, input, &is_whole, err);
    if (code != S3_ERROR_NONE || !is_whole) {
        return code;
    }
    bool has_cr = decoder->line_len > 0 && decoder->line[decoder->line_len - 1] == '\r';
    struct slice line = slice_of(decoder->line, decoder->line_len - (has_cr ? 1 : 0));
    decoder->line_len = 0;
    if (decoder->state == AUTH_CHUNKED_TRAILER) {
        decoder->soft_end = false;
        return chunked_trailer_line(decoder, line, has_cr, err);
    }
    return has_cr ? chunked_size_line(decoder, line, err) : chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
}

static enum s3_error chunked_data(struct auth_chunked *decoder, struct slice *input, struct slice *ret_payload,
                                  struct s3_error_info *err)
{
    size_t len = input->len < decoder->chunk_left ? input->len : (size_t)decoder->chunk_left;
    struct slice payload = slice_of(input->data, len);
    if (decoder->is_signed) {
        digest_update(&decoder->sha, payload.data, payload.len);
    }
    *input = slice_skip(*input, len);
    decoder->chunk_left -= len;
    if (decoder->chunk_left == 0) {
        decoder->state = AUTH_CHUNKED_DATA_CR;
        enum s3_error code = chunked_verify_chunk(decoder, err);
        if (code != S3_ERROR_NONE) {
            return code;
        }
    }
    *ret_payload = payload;
    return S3_ERROR_NONE;
}

static enum s3_error chunked_expect(struct auth_chunked *decoder, struct slice *input, uint8_t byte,
                                    enum auth_chunked_state next, struct s3_error_info *err)
{
    if (input->data[0] != byte) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    *input = slice_skip(*input, 1);
    decoder->state = next;
    return S3_ERROR_NONE;
}

enum s3_error auth_chunked_push(struct auth_chunked *decoder, struct slice *input, struct slice *ret_payload,
                                struct s3_error_info *err)
{
    enum s3_error code = S3_ERROR_NONE;
    *ret_payload = SLICE_EMPTY;
    while (input->len > 0 && ret_payload->len == 0 && code == S3_ERROR_NONE) {
        switch (decoder->state) {
        case AUTH_CHUNKED_SIZE_LINE:
        case AUTH_CHUNKED_TRAILER:
            code = chunked_line(decoder, input, err);
            break;
        case AUTH_CHUNKED_DATA:
            code = chunked_data(decoder, input, ret_payload, err);
            break;
        case AUTH_CHUNKED_DATA_CR:
            code = chunked_expect(decoder, input, '\r', AUTH_CHUNKED_DATA_LF, err);
            break;
        case AUTH_CHUNKED_DATA_LF:
            code = chunked_expect(decoder, input, '\n', AUTH_CHUNKED_SIZE_LINE, err);
            break;
        case AUTH_CHUNKED_END:
        case AUTH_CHUNKED_FAILED:
            code = chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
            break;
        }
    }
    return code;
}

enum s3_error auth_chunked_finish(struct auth_chunked *decoder, struct s3_error_info *err)
{
    bool is_soft = decoder->state == AUTH_CHUNKED_TRAILER && decoder->soft_end && decoder->line_len == 0 &&
                   chunked_trailer_whole(decoder);
    if (decoder->state != AUTH_CHUNKED_END && !is_soft) {
        return chunked_fail(decoder, S3_ERROR_INCOMPLETE_BODY, err);
    }
    decoder->state = AUTH_CHUNKED_END;
    return S3_ERROR_NONE;
}
