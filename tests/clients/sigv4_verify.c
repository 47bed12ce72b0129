/*
 * sigv4_verify - answers, for requests that another client signed, what our door says.
 *
 * One request a line: method TAB target TAB wall milliseconds TAB name:value TAB ...; answers one
 * line: "None" when it is accepted, else the S3 code. Driven by sigv4_differential.py.
 */
#include "gateway/auth/auth_request.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX 64
#define LINE_BYTES 65536

static bool find_identity(void *data, struct slice access_key, struct auth_identity *ret)
{
    static const char secret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    (void)data;
    if (!slice_equal_str(access_key, "AKIAIOSFODNN7EXAMPLE")) {
        return false;
    }
    *ret = (struct auth_identity){ .secret_len = sizeof(secret) - 1 };
    memcpy(ret->secret, secret, sizeof(secret) - 1);
    return true;
}

static struct slice next_field(struct slice *rest)
{
    const uint8_t *tab = rest->len > 0 ? memchr(rest->data, '\t', rest->len) : NULL;
    size_t len = tab == NULL ? rest->len : (size_t)(tab - rest->data);
    struct slice field = slice_of(rest->data, len);
    *rest = slice_skip(*rest, len + 1);
    return field;
}

static enum s3_error answer(struct slice line, struct arena *arena)
{
    struct s3_config s3 = { .region = slice_str("us-east-1") };
    struct auth_config config = { .identities = { find_identity, NULL }, .region = slice_str("us-east-1") };
    struct s3_header headers[HEADERS_MAX];
    struct s3_request request = { .headers = headers };
    struct auth_result result;
    request.method = next_field(&line);
    request.target = next_field(&line);
    struct slice now = next_field(&line);
    char text[32] = "";
    memcpy(text, now.data, now.len < sizeof(text) - 1 ? now.len : sizeof(text) - 1);
    while (line.len > 0 && request.header_count < HEADERS_MAX) {
        struct slice field = next_field(&line);
        const uint8_t *colon = memchr(field.data, ':', field.len);
        if (colon != NULL) {
            size_t len = (size_t)(colon - field.data);
            headers[request.header_count++] = (struct s3_header){ slice_of(field.data, len), slice_skip(field, len + 1) };
        }
    }
    enum s3_error code = s3_request_parse(&request, &s3, arena, NULL);
    if (code != S3_ERROR_NONE && code != S3_ERROR_NOT_IMPLEMENTED && code != S3_ERROR_METHOD_NOT_ALLOWED) {
        return code;
    }
    return auth_check(&config, &request, strtoull(text, NULL, 10), &result, NULL);
}

int main(void)
{
    static char line[LINE_BYTES];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct arena arena;
        arena_init(&arena, 1u << 20);
        printf("%s\n", s3_error_code(answer(slice_of(line, strcspn(line, "\n")), &arena)));
        arena_done(&arena);
    }
    return 0;
}
