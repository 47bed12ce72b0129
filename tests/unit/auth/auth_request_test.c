/*
 * Goal: auth_check() accepts exactly what is signed as AWS documents it, and refuses every bent form.
 * Method: the published vectors, then each rule of S3-SURFACE 2 broken alone.
 */
#include "gateway/auth/auth_request.h"
#include "gateway/auth/auth_signer.h"
#include "gateway/auth/auth_sigv4.h"

#include "common/base/hex.h"
#include "gateway/s3/s3_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define ACCESS_KEY "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define HOST "examplebucket.s3.amazonaws.com"
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DATE_MS 1369353600000ull /* 2013-05-24T00:00:00Z */
#define SCOPE "20130524/us-east-1/s3/aws4_request"
#define HEADERS_MAX 24

struct fixture {
    struct arena arena;
    struct s3_header headers[HEADERS_MAX];
    size_t header_count;
    struct s3_request request;
    struct auth_config config;
    struct auth_result result;
    struct s3_error_info err;
    uint64_t now_ms;
    bool disabled;
};

static bool find_identity(void *data, struct slice access_key, struct auth_identity *ret)
{
    const struct fixture *f = data;
    if (!slice_equal_str(access_key, ACCESS_KEY)) {
        return false;
    }
    *ret = (struct auth_identity){ .secret_len = strlen(SECRET), .is_root = true, .is_disabled = f->disabled };
    memcpy(ret->secret, SECRET, strlen(SECRET));
    return true;
}

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    arena_init(&f->arena, 1u << 20);
    f->config.identities = (struct auth_identities){ find_identity, f };
    f->config.region = slice_str("us-east-1");
    f->config.cache = auth_key_cache_create();
    f->now_ms = DATE_MS;
}

static void fixture_done(struct fixture *f)
{
    auth_key_cache_destroy(f->config.cache);
    arena_done(&f->arena);
}

static void add_header(struct fixture *f, const char *name, const char *value)
{
    assert_true(f->header_count < HEADERS_MAX);
    f->headers[f->header_count++] = (struct s3_header){ slice_str(name), slice_str(value) };
}

static void set_header(struct fixture *f, const char *name, const char *value)
{
    for (size_t i = 0; i < f->header_count; i++) {
        if (s3_name_equal(f->headers[i].name, name)) {
            f->headers[i].value = slice_str(value);
            return;
        }
    }
    add_header(f, name, value);
}

static void drop_header(struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->header_count; i++) {
        if (s3_name_equal(f->headers[i].name, name)) {
            f->headers[i] = f->headers[--f->header_count];
            return;
        }
    }
}

static enum s3_error check(struct fixture *f, const char *method, const char *target)
{
    static const struct slice domains[] = { { (const uint8_t *)"s3.amazonaws.com", 16 } };
    struct s3_config s3 = { .base_domains = domains, .base_domain_count = 1, .region = slice_str("us-east-1") };
    f->request = (struct s3_request){ .method = slice_str(method), .target = slice_str(target),
                                      .headers = f->headers, .header_count = f->header_count };
    f->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    enum s3_error code = s3_request_parse(&f->request, &s3, &f->arena, &f->err);
    if (code != S3_ERROR_NONE && code != S3_ERROR_NOT_IMPLEMENTED) {
        return code;
    }
    code = auth_check(&f->config, &f->request, f->now_ms, &f->result, &f->err);
    assert_true(code == S3_ERROR_NONE || f->err.code == code);
    return code;
}

static void expect_error(struct fixture *f, const char *method, const char *target, enum s3_error wanted)
{
    enum s3_error code = check(f, method, target);
    assert_string_equal(s3_error_code(code), s3_error_code(wanted));
}

static void authorize(struct fixture *f, const char *names, const char *signature)
{
    const char *text = arena_format(&f->arena, "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE
                                    ",SignedHeaders=%s,Signature=%s", names, signature);
    set_header(f, "Authorization", text);
}

static void base_get(struct fixture *f, bool range)
{
    f->header_count = 0;
    add_header(f, "Host", HOST);
    add_header(f, "x-amz-date", "20130524T000000Z");
    add_header(f, "x-amz-content-sha256", EMPTY_HASH);
    if (range) {
        add_header(f, "Range", "bytes=0-9");
    }
}

#define GET_NAMES "host;range;x-amz-content-sha256;x-amz-date"
#define GET_SIGNATURE "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"

static void good_get(struct fixture *f)
{
    base_get(f, true);
    authorize(f, GET_NAMES, GET_SIGNATURE);
}

static void signing_key_matches_the_vector(void **state)
{
    (void)state;
    uint8_t key[SHA256_BYTES];
    char hex[65];
    auth_signing_key(slice_str(SECRET), slice_str("20130524"), slice_str("us-east-1"), slice_str("s3"), key);
    hex_encode(key, sizeof(key), hex);
    assert_string_equal(hex, "dbb893acc010964918f1fd433add87c70e8b0db6be30c1fbeafefa5ec6ba8378");
}

static void header_vectors_pass(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (int round = 0; round < 2; round++) { /* the second time from the cache */
        good_get(&f);
        expect_error(&f, "GET", "/test.txt", S3_ERROR_NONE);
        assert_true(slice_equal_str(f.result.access_key, ACCESS_KEY));
        assert_true(f.result.is_root);
        assert_int_equal(f.result.form, AUTH_FORM_HEADER);
        assert_int_equal(f.result.payload, AUTH_PAYLOAD_SHA256);
    }
    base_get(&f, false);
    authorize(&f, "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    expect_error(&f, "GET", "/?lifecycle", S3_ERROR_NONE);
    authorize(&f, "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    expect_error(&f, "GET", "/?max-keys=2&prefix=J", S3_ERROR_NONE);
    expect_error(&f, "GET", "/?prefix=J&max-keys=2", S3_ERROR_NONE); /* order does not matter */
    base_get(&f, false);
    set_header(&f, "x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
    add_header(&f, "date", "Fri, 24 May 2013 00:00:00 GMT");
    add_header(&f, "x-amz-storage-class", "REDUCED_REDUNDANCY");
    authorize(&f, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
              "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    expect_error(&f, "PUT", "/test$file.text", S3_ERROR_NONE);
    expect_error(&f, "PUT", "/test%24file.text", S3_ERROR_NONE); /* the same key, encoded */
    fixture_done(&f);
}

static void chunked_seeds_pass(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    add_header(&f, "Host", "s3.amazonaws.com");
    add_header(&f, "x-amz-date", "20130524T000000Z");
    add_header(&f, "x-amz-storage-class", "REDUCED_REDUNDANCY");
    add_header(&f, "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    add_header(&f, "Content-Encoding", "aws-chunked");
    add_header(&f, "x-amz-decoded-content-length", "66560");
    add_header(&f, "Content-Length", "66824");
    authorize(&f, "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
              "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    expect_error(&f, "PUT", "/examplebucket/chunkObject.txt", S3_ERROR_NONE);
    assert_int_equal(f.result.payload, AUTH_PAYLOAD_CHUNKS_SIGNED);
    assert_int_equal(f.result.decoded_bytes, 66560);
    assert_string_equal(f.result.scope, SCOPE);
    drop_header(&f, "Content-Length");
    set_header(&f, "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER");
    add_header(&f, "x-amz-trailer", "x-amz-checksum-crc32c");
    authorize(&f, "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
              "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    expect_error(&f, "PUT", "/examplebucket/chunkObject.txt", S3_ERROR_NONE);
    assert_true(slice_equal_str(f.result.trailer_name, "x-amz-checksum-crc32c"));
    fixture_done(&f);
}

#define PRESIGNED "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" ACCESS_KEY \
    "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400" \
    "&X-Amz-SignedHeaders=host"
#define PRESIGNED_OK PRESIGNED "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"

static void presigned_vector_passes_until_it_expires(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    add_header(&f, "Host", HOST);
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_NONE);
    assert_int_equal(f.result.form, AUTH_FORM_PRESIGNED);
    assert_int_equal(f.result.payload, AUTH_PAYLOAD_UNSIGNED);
    f.now_ms = DATE_MS + 86400000ull;
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_NONE);
    f.now_ms++;
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_ACCESS_DENIED);
    f.now_ms = DATE_MS - AUTH_SKEW_MAX_MS;
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_NONE);
    f.now_ms--;
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_ACCESS_DENIED);
    f.now_ms = DATE_MS;
    expect_error(&f, "PUT", PRESIGNED_OK, S3_ERROR_SIGNATURE_DOES_NOT_MATCH);
    expect_error(&f, "GET", PRESIGNED, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS);
    expect_error(&f, "GET", PRESIGNED_OK "&X-Amz-Expires=86400", S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS);
    expect_error(&f, "GET", PRESIGNED_OK "&versionId=1", S3_ERROR_SIGNATURE_DOES_NOT_MATCH);
    expect_error(&f, "GET", PRESIGNED_OK "&X-Amz-Security-Token=t", S3_ERROR_SIGNATURE_DOES_NOT_MATCH);
    add_header(&f, "x-amz-acl", "public-read"); /* not signed: refused even though the URL is good */
    expect_error(&f, "GET", PRESIGNED_OK, S3_ERROR_ACCESS_DENIED);
    fixture_done(&f);
}

static void presigned_urls_of_ours_have_their_limits(void **state)
{
    (void)state;
    static const struct {
        uint32_t seconds;
        enum s3_error code;
    } rows[] = { { 0, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS }, { 1, S3_ERROR_NONE }, { 604800, S3_ERROR_NONE },
                 { 604801, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS } };
    struct fixture f;
    fixture_init(&f);
    struct auth_signer signer = { slice_str(ACCESS_KEY), slice_str(SECRET), slice_str("us-east-1") };
    add_header(&f, "Host", HOST);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice target;
        assert_int_equal(auth_presign(&signer, &f.arena, "GET", slice_str("/a%20b/c"), slice_str(HOST), rows[i].seconds,
                                      DATE_MS, &target), ERRC_OK);
        expect_error(&f, "GET", arena_format(&f.arena, "%.*s", (int)target.len, (const char *)target.data), rows[i].code);
    }
    fixture_done(&f);
}

/* Each row breaks the good GET in one way. */
static void bent_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *value; /* NULL value: dropped */
        enum s3_error code;
    } rows[] = {
        { "Authorization", NULL, S3_ERROR_ACCESS_DENIED },
        { "Authorization", "AWS " ACCESS_KEY ":sig", S3_ERROR_INVALID_REQUEST },
        { "Authorization", "AWS4-ECDSA-P256-SHA256 Credential=a", S3_ERROR_NOT_IMPLEMENTED },
        { "Authorization", "Basic YTpi", S3_ERROR_INVALID_ARGUMENT },
        { "Authorization", "Bearer x", S3_ERROR_INVALID_ARGUMENT },
        { "Authorization", "", S3_ERROR_INVALID_ARGUMENT },
        { "Authorization", "AWS4-HMAC-SHA256", S3_ERROR_INVALID_ARGUMENT },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE ",Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/20130524/s3/aws4_request,SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/20130525/us-east-1/s3/aws4_request,SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/20130524/eu-west-1/s3/aws4_request,SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/20130524/us-east-1/sts/aws4_request,SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=range;host;x-amz-content-sha256;x-amz-date,Signature=" GET_SIGNATURE, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=range;x-amz-content-sha256;x-amz-date,Signature=" GET_SIGNATURE, S3_ERROR_ACCESS_DENIED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=host;range;x-amz-date,Signature=" GET_SIGNATURE, S3_ERROR_ACCESS_DENIED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=" GET_NAMES ",Signature=F0E8BDB87C964420E857BD35B5D6ED310BD44F0170ABA48DD91039C6036BDB41", S3_ERROR_AUTHORIZATION_HEADER_MALFORMED },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=" GET_NAMES ",Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb42", S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLF/" SCOPE ",SignedHeaders=" GET_NAMES ",Signature=" GET_SIGNATURE, S3_ERROR_INVALID_ACCESS_KEY_ID },
        { "Authorization", "AWS4-HMAC-SHA256 Credential=" ACCESS_KEY "/" SCOPE ",SignedHeaders=host;if-match;range;x-amz-content-sha256;x-amz-date,Signature=" GET_SIGNATURE, S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "Range", "bytes=0-10", S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "Range", NULL, S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "Host", "other.s3.amazonaws.com", S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "x-amz-date", NULL, S3_ERROR_ACCESS_DENIED },
        { "x-amz-date", "yesterday", S3_ERROR_ACCESS_DENIED },
        { "x-amz-date", "20130524T000001Z", S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "x-amz-content-sha256", NULL, S3_ERROR_INVALID_REQUEST },
        { "x-amz-content-sha256", "UNSIGNED-PAYLOAD", S3_ERROR_SIGNATURE_DOES_NOT_MATCH },
        { "x-amz-content-sha256", "unsigned-payload", S3_ERROR_INVALID_ARGUMENT },
        { "x-amz-content-sha256", "E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", S3_ERROR_INVALID_ARGUMENT },
        { "x-amz-content-sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", S3_ERROR_NOT_IMPLEMENTED },
        { "x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", S3_ERROR_MISSING_CONTENT_LENGTH },
        { "x-amz-acl", "public-read", S3_ERROR_ACCESS_DENIED },
        { "X-Amz-Copy-Source", "/b/k", S3_ERROR_ACCESS_DENIED },
        { "x-amz-meta-a", "b", S3_ERROR_ACCESS_DENIED },
        { "x-amz-security-token", "t", S3_ERROR_ACCESS_DENIED },
        { "x-amz-trailer", "x-amz-checksum-crc32", S3_ERROR_ACCESS_DENIED },
        { "User-Agent", "anything", S3_ERROR_NONE },
        { "Content-MD5", "unsigned is fine", S3_ERROR_NONE },
    };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        good_get(&f);
        if (rows[i].value == NULL) {
            drop_header(&f, rows[i].header);
        } else {
            set_header(&f, rows[i].header, rows[i].value);
        }
        expect_error(&f, "GET", "/test.txt", rows[i].code);
    }
    fixture_done(&f);
}

static void two_forms_and_duplicates_are_refused(void **state)
{
    (void)state;
    static const char *const twice[] = { "x-amz-date", "Host", "Authorization", "X-AMZ-CONTENT-SHA256", "range" };
    struct fixture f;
    fixture_init(&f);
    good_get(&f);
    expect_error(&f, "GET", "/test.txt?X-Amz-Signature=0", S3_ERROR_INVALID_ARGUMENT);
    expect_error(&f, "GET", "/test.txt?X-Amz-Credential=0", S3_ERROR_INVALID_ARGUMENT);
    expect_error(&f, "GET", "/test.txt?AWSAccessKeyId=0", S3_ERROR_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        good_get(&f);
        struct slice value;
        assert_true(s3_header_get(&(struct s3_request){ .headers = f.headers, .header_count = f.header_count }, twice[i], &value));
        f.headers[f.header_count++] = (struct s3_header){ slice_str(twice[i]), value };
        expect_error(&f, "GET", "/test.txt", S3_ERROR_INVALID_ARGUMENT);
    }
    base_get(&f, false);
    expect_error(&f, "GET", "/test.txt?AWSAccessKeyId=A&Signature=s&Expires=1", S3_ERROR_INVALID_REQUEST);
    expect_error(&f, "GET", "/test.txt?X-Amz-Signature=0", S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS);
    expect_error(&f, "GET", "/test.txt?X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256", S3_ERROR_NOT_IMPLEMENTED);
    expect_error(&f, "GET", "/test.txt", S3_ERROR_ACCESS_DENIED); /* anonymous */
    expect_error(&f, "GET", "/test.txt?x-amz-signature=0", S3_ERROR_ACCESS_DENIED); /* names are case-sensitive */
    fixture_done(&f);
}

static void skew_is_fifteen_minutes_both_ways(void **state)
{
    (void)state;
    static const struct {
        int64_t offset_ms;
        enum s3_error code;
    } rows[] = { { 900000, S3_ERROR_NONE }, { 900001, S3_ERROR_REQUEST_TIME_TOO_SKEWED },
                 { -900000, S3_ERROR_NONE }, { -900001, S3_ERROR_REQUEST_TIME_TOO_SKEWED } };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < 4; i++) {
        good_get(&f);
        f.now_ms = (uint64_t)((int64_t)DATE_MS + rows[i].offset_ms);
        expect_error(&f, "GET", "/test.txt", rows[i].code);
    }
    fixture_done(&f);
}

static void disabled_keys_look_unknown(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    good_get(&f);
    f.disabled = true;
    expect_error(&f, "GET", "/test.txt", S3_ERROR_INVALID_ACCESS_KEY_ID);
    fixture_done(&f);
}

static void sign_into(struct fixture *f, const char *method, const char *target, const struct s3_header *extra,
                      size_t extra_count, const char *payload, const char *region)
{
    struct auth_signer signer = { slice_str(ACCESS_KEY), slice_str(SECRET), slice_str(region) };
    struct auth_signed out;
    assert_int_equal(auth_sign(&signer, &f->arena, method, slice_str(target), slice_str(HOST), extra, extra_count,
                               slice_str(payload), f->now_ms, &out), ERRC_OK);
    f->header_count = 0;
    add_header(f, "Host", HOST);
    for (size_t i = 0; i < extra_count; i++) {
        f->headers[f->header_count++] = extra[i];
    }
    f->headers[f->header_count++] = (struct s3_header){ slice_str("Authorization"), out.authorization };
    f->headers[f->header_count++] = (struct s3_header){ slice_str("X-Amz-Date"), out.date };
    f->headers[f->header_count++] = (struct s3_header){ slice_str("X-Amz-Content-Sha256"), out.payload };
}

static void our_signer_passes_our_door(void **state)
{
    (void)state;
    static const char *const targets[] = { "/", "/a//b/../c/./d", "/%E2%98%83%2F%2f", "/k?versionId=a%2Bb&x-id=GetObject",
                                           "/k?a&b=&a=1&A=2&%7e=~", "/a+b", "/k?q=a+b%20c", "/%25", "/*()'!" };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct s3_header extra[] = { { slice_str("x-amz-meta-Z"), slice_str("  two   spaces  ") },
                                     { slice_str("If-Match"), slice_str("\"e\"") } };
        sign_into(&f, "GET", targets[i], extra, 2, "UNSIGNED-PAYLOAD", "us-east-1");
        expect_error(&f, "GET", targets[i], S3_ERROR_NONE);
        expect_error(&f, "HEAD", targets[i], S3_ERROR_SIGNATURE_DOES_NOT_MATCH);
    }
    sign_into(&f, "GET", "/k", NULL, 0, "UNSIGNED-PAYLOAD", "mars-1");
    expect_error(&f, "GET", "/k", S3_ERROR_AUTHORIZATION_HEADER_MALFORMED);
    f.config.any_region = true;
    expect_error(&f, "GET", "/k", S3_ERROR_NONE);
    f.config.refuse_unsigned_without_tls = true;
    expect_error(&f, "GET", "/k", S3_ERROR_ACCESS_DENIED);
    struct s3_header token = { slice_str("x-amz-security-token"), slice_str("t") };
    sign_into(&f, "GET", "/k", &token, 1, EMPTY_HASH, "us-east-1");
    expect_error(&f, "GET", "/k", S3_ERROR_INVALID_TOKEN);
    fixture_done(&f);
}

static void trailers_must_fit_the_mode(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *trailer, *length;
        enum s3_error code;
    } rows[] = {
        { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", "5", S3_ERROR_NONE },
        { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-meta-a", "5", S3_ERROR_INVALID_REQUEST },
        { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", NULL, "5", S3_ERROR_MALFORMED_TRAILER },
        { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", NULL, S3_ERROR_MISSING_CONTENT_LENGTH },
        { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-checksum-crc32", "-5", S3_ERROR_MISSING_CONTENT_LENGTH },
        { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x-amz-checksum-crc32", "5", S3_ERROR_INVALID_REQUEST },
        { "UNSIGNED-PAYLOAD", "x-amz-checksum-crc32", "5", S3_ERROR_INVALID_REQUEST },
    };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct s3_header extra[2];
        size_t count = 0;
        if (rows[i].trailer != NULL) {
            extra[count++] = (struct s3_header){ slice_str("x-amz-trailer"), slice_str(rows[i].trailer) };
        }
        if (rows[i].length != NULL) {
            extra[count++] = (struct s3_header){ slice_str("x-amz-decoded-content-length"), slice_str(rows[i].length) };
        }
        sign_into(&f, "PUT", "/k", extra, count, rows[i].mode, "us-east-1");
        expect_error(&f, "PUT", "/k", rows[i].code);
    }
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signing_key_matches_the_vector),
        cmocka_unit_test(header_vectors_pass),
        cmocka_unit_test(chunked_seeds_pass),
        cmocka_unit_test(presigned_vector_passes_until_it_expires),
        cmocka_unit_test(presigned_urls_of_ours_have_their_limits),
        cmocka_unit_test(bent_headers_are_refused),
        cmocka_unit_test(two_forms_and_duplicates_are_refused),
        cmocka_unit_test(skew_is_fifteen_minutes_both_ways),
        cmocka_unit_test(disabled_keys_look_unknown),
        cmocka_unit_test(our_signer_passes_our_door),
        cmocka_unit_test(trailers_must_fit_the_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
