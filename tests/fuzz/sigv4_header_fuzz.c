/*
 * Fuzz target: a request head, parsed and authenticated. No input may pass: the only key is secret.
 * Input: method LF target LF name:value LF ... in this plain form.
 */
#include "gateway/auth/auth_request.h"

#include <stdlib.h>

#define HEADERS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void any_outcome(enum s3_error code)
{
    (void)code;
}

static bool find_identity(void *data, struct slice access_key, struct auth_identity *ret)
{
    (void)data;
    if (!slice_equal_str(access_key, "AKIAIOSFODNN7EXAMPLE")) {
        return false;
    }
    *ret = (struct auth_identity){ .secret = "no input knows this", .secret_len = 19 };
    return true;
}

static struct slice next_line(struct slice *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    struct slice line = slice_of(rest->data, len);
    *rest = slice_skip(*rest, len + 1);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice domains[] = { slice_str("s3.test"), slice_str("s3.amazonaws.com") };
    struct s3_config s3 = { .base_domains = domains, .base_domain_count = 2, .region = slice_str("us-east-1") };
    struct auth_config config = { .identities = { find_identity, NULL }, .region = slice_str("us-east-1") };
    struct s3_header headers[HEADERS_MAX];
    struct slice rest = slice_of(data, size);
    struct s3_request request = { .headers = headers };
    struct s3_error_info err = S3_ERROR_INFO_INIT;
    struct auth_result result;
    struct arena arena;
    arena_init(&arena, 1u << 20);
    request.method = next_line(&rest);
    request.target = next_line(&rest);
    while (rest.len > 0 && request.header_count < HEADERS_MAX) {
        struct slice line = next_line(&rest);
        const uint8_t *colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
        if (colon != NULL) {
            size_t len = (size_t)(colon - line.data);
            headers[request.header_count++] = (struct s3_header){ slice_of(line.data, len), slice_skip(line, len + 1) };
        }
    }
    any_outcome(s3_request_parse(&request, &s3, &arena, &err)); /* authentication must stand on its own */
    if (request.arena != NULL && auth_check(&config, &request, 1369353600000ull, &result, &err) == S3_ERROR_NONE) {
        abort();
    }
    struct enc out = ENC_INIT;
    if (err.code != S3_ERROR_NONE) {
        s3_error_write(&out, &err, request.path, slice_str("R"), slice_str("H"));
    }
    enc_free(&out);
    arena_done(&arena);
    return 0;
}
