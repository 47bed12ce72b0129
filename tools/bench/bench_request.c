#include "tools/bench/bench_request.h"

#include "common/base/assert.h"
#include "common/base/digest.h"
#include "common/base/env.h"
#include "common/base/hex.h"
#include "gateway/auth/auth_signer.h"

#include <inttypes.h>
#include <stdio.h>

#define SIGN_ARENA_BYTES (32u << 10)
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TARGET_BYTES (BENCH_BUCKET_BYTES_MAX + 6 * BENCH_PREFIX_BYTES_MAX + 256)

static const char *method_of(enum bench_op op)
{
    switch (op) {
    case BENCH_PUT:
    case BENCH_MAKE_BUCKET:
        return "PUT";
    case BENCH_DELETE:
        return "DELETE";
    case BENCH_STAT:
        return "HEAD";
    default:
        return "GET";
    }
}

/* The prefix in a query: '/' is the only one of its characters that needs an escape there. */
static void prefix_escape(const char *prefix, char *text, size_t text_bytes)
{
    size_t len = 0;
    for (; *prefix != '\0' && len + 4 < text_bytes; prefix++) {
        if (*prefix == '/') {
            memcpy(text + len, "%2F", 3);
            len += 3;
        } else {
            text[len++] = *prefix;
        }
    }
    text[len] = '\0';
}

static void target_build(const struct bench_request *request, const struct bench_options *options, char *target)
{
    char prefix[3 * BENCH_PREFIX_BYTES_MAX + 8];
    if (request->op == BENCH_MAKE_BUCKET) {
        (void)snprintf(target, TARGET_BYTES, "/%s", options->bucket);
    } else if (request->op == BENCH_LIST) {
        prefix_escape(options->prefix, prefix, sizeof(prefix));
        (void)snprintf(target, TARGET_BYTES, "/%s?list-type=2&max-keys=%u&prefix=%s&start-after=%s%0*" PRIu64,
                       options->bucket, options->page_keys, prefix, prefix, BENCH_KEY_DIGITS, request->object);
    } else {
        (void)snprintf(target, TARGET_BYTES, "/%s/%s%0*" PRIu64, options->bucket, options->prefix, BENCH_KEY_DIGITS,
                       request->object);
    }
}

static void body_hash(const struct bench_request *request, const struct bench_body *body, char *hex)
{
    uint8_t hash[SHA256_BYTES];
    struct digest digest;
    digest_init(&digest, DIGEST_SHA256);
    for (uint64_t offset = 0; offset < request->body_bytes;) {
        struct slice window = bench_body_window(body, request->object, offset, request->body_bytes - offset);
        digest_update(&digest, window.data, window.len);
        offset += window.len;
    }
    digest_final(&digest, hash);
    digest_done(&digest);
    hex_encode(hash, sizeof(hash), hex);
}

enum errc bench_request_build(struct bench_request *request, const struct bench_options *options,
                              const struct bench_body *body)
{
    char target[TARGET_BYTES];
    char hash[2 * SHA256_BYTES + 1] = EMPTY_SHA256;
    target_build(request, options, target);
    request->body_bytes = request->op == BENCH_PUT ? options->object_bytes : 0;
    if (request->op == BENCH_PUT && options->sign == BENCH_SIGN_UNSIGNED) {
        (void)snprintf(hash, sizeof(hash), "UNSIGNED-PAYLOAD");
    } else if (request->op == BENCH_PUT) {
        body_hash(request, body, hash);
    }
    struct arena arena;
    arena_init(&arena, SIGN_ARENA_BYTES);
    const struct auth_signer signer = { slice_str(options->access_key), slice_str(options->secret_key),
                                        slice_str(options->region) };
    const char *method = method_of(request->op);
    struct auth_signed values;
    enum errc rc = auth_sign(&signer, &arena, method, slice_str(target), slice_str(options->host_header), NULL, 0,
                             slice_str(hash), env_wall_ms(env_real()), &values);
    int len = 0;
    if (rc == ERRC_OK) {
        len = snprintf(request->head, sizeof(request->head),
                       "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %.*s\r\nx-amz-date: %.*s\r\n"
                       "x-amz-content-sha256: %s\r\n",
                       method, target, options->host_header, (int)values.authorization.len,
                       (const char *)values.authorization.data, (int)values.date.len, (const char *)values.date.data,
                       hash);
        if (len < BENCH_HEAD_BYTES) {
            size_t room = sizeof(request->head) - (size_t)len;
            len += request->op == BENCH_PUT || request->op == BENCH_MAKE_BUCKET
                       ? snprintf(request->head + len, room, "Content-Length: %" PRIu64 "\r\n\r\n", request->body_bytes)
                       : snprintf(request->head + len, room, "\r\n");
        }
        rc = len < BENCH_HEAD_BYTES ? ERRC_OK : ERRC_LIMIT;
    }
    request->head_len = (size_t)len;
    arena_done(&arena);
    return rc;
}
