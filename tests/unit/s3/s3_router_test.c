/*
 * Goal: each operation is reached by its own request only, and what is not an operation is refused.
 * Method: requests are built from the rows of the table itself; then a table of traps.
 */
#include "gateway/s3/s3_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct shot {
    struct arena arena;
    struct s3_request request;
    struct s3_error_info err;
    struct s3_header headers[4];
    size_t header_count;
};

static enum s3_error shoot(struct shot *shot, const char *method, const char *host, const char *target)
{
    static const struct slice domains[] = { { (const uint8_t *)"s3.test", 7 }, { (const uint8_t *)"eu.s3.test", 10 } };
    struct s3_config config = { .base_domains = domains, .base_domain_count = 2 };
    shot->request = (struct s3_request){ .method = slice_str(method), .target = slice_str(target),
                                         .headers = shot->headers, .header_count = shot->header_count,
                                         .host = slice_str(host) };
    shot->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    return s3_request_parse(&shot->request, &config, &shot->arena, &shot->err);
}

static void each_row_routes_to_itself(void **state)
{
    (void)state;
    for (int op = 1; op < S3_OPERATION_COUNT; op++) {
        const struct s3_operation_row *row = s3_operation_row((enum s3_operation)op);
        struct shot shot = { .header_count = 0 };
        char target[256];
        arena_init(&shot.arena, 1u << 16);
        const char *path = row->resource == S3_RESOURCE_SERVICE    ? "/"
                           : row->resource == S3_RESOURCE_BUCKET   ? "/bucket"
                           : row->resource == S3_RESOURCE_RESPONSE ? "/WriteGetObjectResponse"
                                                                   : "/bucket/key";
        (void)snprintf(target, sizeof(target), "%s?x-id=%s&zzz%s%s%s%s%s", path, row->name, row->query[0] ? "&" : "",
                       row->query, op == S3_OPERATION_LIST_OBJECTS_V2 ? "=2" : "", row->query_two[0] ? "&" : "",
                       row->query_two);
        if (row->header[0] != '\0') {
            shot.headers[shot.header_count++] = (struct s3_header){ slice_str(row->header),
                                                                    slice_str("multipart/form-data; boundary=x") };
        }
        enum s3_error code = shoot(&shot, row->method, "s3.test", target);
        assert_string_equal(s3_operation_name(shot.request.operation), row->name);
        assert_int_equal(code, row->implemented ? S3_ERROR_NONE : S3_ERROR_NOT_IMPLEMENTED);
        arena_done(&shot.arena);
    }
}

static void rows_are_distinct(void **state)
{
    (void)state;
    for (int a = 1; a < S3_OPERATION_COUNT; a++) {
        for (int b = a + 1; b < S3_OPERATION_COUNT; b++) {
            const struct s3_operation_row *x = s3_operation_row((enum s3_operation)a);
            const struct s3_operation_row *y = s3_operation_row((enum s3_operation)b);
            bool same = strcmp(x->method, y->method) == 0 && x->resource == y->resource &&
                        strcmp(x->query, y->query) == 0 && strcmp(x->query_two, y->query_two) == 0 &&
                        strcmp(x->header, y->header) == 0;
            bool is_head = strcmp(x->name, y->name) == 0;
            assert_false(same || is_head);
        }
    }
}

/* No subresource of the table may end in an operation that has none, whatever the method. */
static void subresources_never_fall_through(void **state)
{
    (void)state;
    static const char *const methods[] = { "GET", "PUT", "POST", "DELETE", "HEAD" };
    static const char *const paths[] = { "/", "/bucket", "/bucket/key" };
    for (int op = 1; op < S3_OPERATION_COUNT; op++) {
        const struct s3_operation_row *row = s3_operation_row((enum s3_operation)op);
        for (size_t i = 0; row->query[0] != '\0' && i < 15; i++) {
            struct shot shot = { .header_count = 0 };
            char target[128];
            if (op == S3_OPERATION_LIST_OBJECTS_V2 && i % 3 == 2) {
                continue; /* on a key, list-type means nothing */
            }
            arena_init(&shot.arena, 1u << 16);
            (void)snprintf(target, sizeof(target), "%s?%s", paths[i % 3], row->query);
            (void)shoot(&shot, methods[i / 3], "s3.test", target); /* any code; the operation counts */
            if (shot.request.operation != S3_OPERATION_NONE) {
                assert_string_equal(s3_operation_row(shot.request.operation)->query, row->query);
            }
            arena_done(&shot.arena);
        }
    }
}

static void traps_are_seen(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
        enum s3_operation operation; /* NONE: any */
        enum s3_error code;
    } rows[] = {
        { "GET", "/b-b?acl&policy", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "GET", "/b-b?acl&acl", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "GET", "/b-b?%61cl", S3_OPERATION_GET_BUCKET_ACL, S3_ERROR_NOT_IMPLEMENTED },
        { "GET", "/b-b?Acl", S3_OPERATION_LIST_OBJECTS, S3_ERROR_NONE },
        { "PUT", "/b-b/k?acl", S3_OPERATION_PUT_OBJECT_ACL, S3_ERROR_NOT_IMPLEMENTED },
        { "PUT", "/b-b/k?policy", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "DELETE", "/b-b/k?acl", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "DELETE", "/b-b?acl", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "DELETE", "/b-b?uploads", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "GET", "/b-b/k?uploadId=1", S3_OPERATION_LIST_PARTS, S3_ERROR_NONE },
        { "GET", "/b-b/k?partNumber=1", S3_OPERATION_GET_OBJECT, S3_ERROR_NONE },
        { "PUT", "/b-b/k?partNumber=1", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "DELETE", "/b-b/k?partNumber=1", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "PUT", "/b-b/k?uploadId=1", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "PUT", "/b-b/k?uploadId=1&partNumber=1&partNumber=2", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "PUT", "/b-b/k?uploadId=1&uploadId=2&partNumber=1", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "GET", "/b-b/k?versionId=1&versionId=2", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "POST", "/b-b/k", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "POST", "/b-b", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "POST", "/", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "PUT", "/", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "PATCH", "/b-b/k", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "get", "/b-b/k", S3_OPERATION_NONE, S3_ERROR_METHOD_NOT_ALLOWED },
        { "GET", "/b-b?list-type=3", S3_OPERATION_NONE, S3_ERROR_INVALID_ARGUMENT },
        { "GET", "/b-b/k?list-type=2", S3_OPERATION_GET_OBJECT, S3_ERROR_NONE },
        { "GET", "/b-b?torrent", S3_OPERATION_NONE, S3_ERROR_REQUEST_TORRENT_OF_BUCKET },
        { "GET", "/b-b/k?logging", S3_OPERATION_NONE, S3_ERROR_NO_LOGGING_STATUS_FOR_KEY },
        { "GET", "/b-b/", S3_OPERATION_LIST_OBJECTS, S3_ERROR_NONE },
        { "GET", "//k", S3_OPERATION_NONE, S3_ERROR_INVALID_BUCKET_NAME },
        { "GET", "/B-B/k", S3_OPERATION_NONE, S3_ERROR_INVALID_BUCKET_NAME },
        { "GET", "/../k", S3_OPERATION_NONE, S3_ERROR_INVALID_BUCKET_NAME },
        { "GET", "/b-b/k%00", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b/k%", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b/k%4", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b/k%zz", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b/%c0%af", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b/%ed%a0%80", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "/b-b?a=%", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "http://b/k", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "GET", "", S3_OPERATION_NONE, S3_ERROR_INVALID_URI },
        { "OPTIONS", "/b-b/k?acl", S3_OPERATION_PREFLIGHT, S3_ERROR_NOT_IMPLEMENTED },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shot shot = { .header_count = 0 };
        arena_init(&shot.arena, 1u << 16);
        enum s3_error code = shoot(&shot, rows[i].method, "s3.test", rows[i].target);
        assert_string_equal(s3_error_code(code), s3_error_code(rows[i].code));
        if (rows[i].operation != S3_OPERATION_NONE) {
            assert_int_equal(shot.request.operation, rows[i].operation);
        }
        arena_done(&shot.arena);
    }
}

static void hosts_and_paths_resolve(void **state)
{
    (void)state;
    static const struct {
        const char *host, *target, *bucket, *key;
    } rows[] = {
        { "s3.test", "/bucket/a/b", "bucket", "a/b" },
        { "S3.Test:9000", "/bucket/%2F%2e%2E//x", "bucket", "/..//x" },
        { "127.0.0.1:80", "/bucket/a+b", "bucket", "a+b" },
        { "[::1]:80", "/bucket/", "bucket", "" },
        { "Bucket.s3.test", "/a/b", "bucket", "a/b" },
        { "my.bucket.s3.test:80", "/", "my.bucket", "" },
        { "bucket.eu.s3.test", "//a", "bucket", "/a" },
        { "eu.s3.test", "/bucket/a", "bucket", "a" },
        { "unknown.example", "/bucket%2Fkey", "bucket", "key" },
        { "", "/bucket/\xe2\x98\x83", "bucket", "\xe2\x98\x83" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shot shot = { .header_count = 0 };
        arena_init(&shot.arena, 1u << 16);
        assert_int_equal(shoot(&shot, "GET", rows[i].host, rows[i].target), S3_ERROR_NONE);
        assert_true(slice_equal_str(shot.request.bucket, rows[i].bucket));
        assert_true(slice_equal_str(shot.request.key, rows[i].key));
        arena_done(&shot.arena);
    }
}

static void keys_have_1024_bytes_at_most(void **state)
{
    (void)state;
    char target[1100] = "/bucket/";
    struct shot shot = { .header_count = 0 };
    arena_init(&shot.arena, 1u << 16);
    memset(target + 8, 'k', 1024);
    assert_int_equal(shoot(&shot, "PUT", "s3.test", target), S3_ERROR_NONE);
    target[8 + 1024] = 'k';
    assert_int_equal(shoot(&shot, "PUT", "s3.test", target), S3_ERROR_KEY_TOO_LONG);
    arena_done(&shot.arena);
}

static void presigned_parameters_count_as_headers(void **state)
{
    (void)state;
    struct shot shot = { .header_count = 0 };
    struct slice value;
    arena_init(&shot.arena, 1u << 16);
    (void)shoot(&shot, "PUT", "s3.test", "/bucket/k?x-amz-copy-source=%2Fb%2Fk");
    assert_int_equal(shot.request.operation, S3_OPERATION_PUT_OBJECT);
    assert_false(s3_value_get(&shot.request, "x-amz-copy-source", &value));
    (void)shoot(&shot, "PUT", "s3.test", "/bucket/k?x-amz-copy-source=%2Fb%2Fk&X-Amz-Algorithm=x");
    assert_int_equal(shot.request.operation, S3_OPERATION_COPY_OBJECT);
    assert_true(s3_value_get(&shot.request, "x-amz-copy-source", &value));
    assert_true(slice_equal_str(value, "/b/k"));
    arena_done(&shot.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_routes_to_itself),
        cmocka_unit_test(rows_are_distinct),
        cmocka_unit_test(subresources_never_fall_through),
        cmocka_unit_test(traps_are_seen),
        cmocka_unit_test(hosts_and_paths_resolve),
        cmocka_unit_test(keys_have_1024_bytes_at_most),
        cmocka_unit_test(presigned_parameters_count_as_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
