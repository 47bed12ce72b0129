/*
 * Fuzz target: the readers of request headers: metadata, digests and checksums, conditions, ranges, copy sources,
 * owners, part numbers, version and upload ids. Authentication does not run: they must stand on their own.
 *
 * Input: method LF target LF name:value LF ... What was read must mean the same when written and read again.
 */
#include "common/base/assert.h"
#include "common/base/block_cipher.h"
#include "common/base/id.h"
#include "gateway/handlers/version_id.h"
#include "gateway/s3/s3_condition.h"
#include "gateway/s3/s3_headers.h"
#include "gateway/s3/s3_multipart.h"
#include "gateway/s3/s3_range.h"
#include "gateway/s3/s3_time.h"

#include <string.h>
#include <strings.h>

#define HEADERS_MAX 64
#define ARENA_BYTES (1u << 20)
#define NOW_MS 1763868000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned accepted; /* by readers that have no way back */

static struct slice next_line(struct slice *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    struct slice line = slice_of(rest->data, len);
    *rest = slice_skip(*rest, len + 1);
    return line;
}

static bool is_ascii(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* Metadata that is not ASCII leaves as encoded words: a client that sends them back stores the same bytes. */
static void check_meta(const struct s3_request *request)
{
    struct s3_object_headers headers;
    if (s3_object_headers_read(request, &headers, NULL) != S3_ERROR_NONE) {
        return;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < headers.meta_count; i++) {
        struct s3_header header = { slice_str("x-amz-meta-a"), slice_str("") };
        struct s3_request back = { .arena = request->arena, .headers = &header, .header_count = 1 };
        struct s3_object_headers twice;
        ASSERT(i == 0 || slice_compare(headers.meta[i - 1].name, headers.meta[i].name) < 0);
        bytes += headers.meta[i].name.len + headers.meta[i].value.len;
        if (!s3_meta_header_value(request->arena, headers.meta[i].value, &header.value)) {
            continue;
        }
        ASSERT(is_ascii(header.value));
        if (!is_ascii(headers.meta[i].value) && s3_object_headers_read(&back, &twice, NULL) == S3_ERROR_NONE) {
            ASSERT(twice.meta_count == 1 && slice_equal(twice.meta[0].value, headers.meta[i].value));
        }
    }
    ASSERT(bytes <= S3_METADATA_BYTES_MAX);
}

static void check_sums(const struct s3_request *request)
{
    struct s3_checksum_request wanted;
    struct s3_multipart_rules rules;
    struct checksum_value twice;
    char text[CHECKSUM_TEXT_BYTES];
    uint8_t md5[MD5_BYTES];
    bool present;
    accepted += s3_content_md5_read(request, &present, md5, NULL) == S3_ERROR_NONE && present ? 1 : 0;
    accepted += s3_has_integrity(request) ? 1 : 0;
    if (s3_checksum_request_read(request, &wanted, NULL) != S3_ERROR_NONE) {
        return;
    }
    if (wanted.value.kind != CHECKSUM_NONE) {
        size_t len = checksum_format(&wanted.value, text);
        ASSERT(checksum_parse(wanted.value.kind, slice_of(text, len), &twice));
        ASSERT(checksum_equal(&wanted.value, &twice));
    }
    if (s3_multipart_rules_make(&wanted, &rules, NULL) == S3_ERROR_NONE) {
        ASSERT(rules.checksum_type != CHECKSUM_FULL_OBJECT || checksum_combines(rules.checksum_kind));
    }
}

static void check_time(uint64_t ms)
{
    char text[S3_TIME_HTTP_BYTES];
    uint64_t twice;
    s3_time_http(ms, text);
    ASSERT(s3_time_parse_http(slice_str(text), &twice) && twice == ms - ms % 1000);
}

static void check_conditions(const struct s3_request *request)
{
    struct s3_conditions conditions;
    struct s3_write_condition write;
    const char *failed = NULL;
    s3_conditions_read(request, "", &conditions);
    if (conditions.has_modified_since) {
        check_time(conditions.modified_since_ms);
    }
    if (conditions.has_unmodified_since) {
        check_time(conditions.unmodified_since_ms);
    }
    if (s3_condition_read(&conditions, slice_str("e"), NOW_MS - 5000, NOW_MS, &failed) == S3_CONDITION_FAILED) {
        ASSERT(failed != NULL);
    }
    s3_conditions_read(request, "x-amz-copy-source-", &conditions);
    failed = NULL;
    enum s3_condition_outcome outcome =
        s3_condition_copy_source(&conditions, slice_str("e"), NOW_MS - 5000, NOW_MS, &failed);
    ASSERT(outcome == S3_CONDITION_PASS || (outcome == S3_CONDITION_FAILED && failed != NULL));
    for (unsigned any = 0; any < 2; any++) {
        if (s3_write_condition_read(request, any != 0, &write, NULL) == S3_ERROR_NONE) {
            ASSERT(any != 0 || !write.if_match_any);
        }
    }
}

static void check_range(const struct s3_request *request, uint64_t object_bytes)
{
    struct s3_range range;
    struct slice text = slice_str("");
    (void)s3_value_get(request, "range", &text);
    if (s3_range_resolve(text, object_bytes, &range) == S3_RANGE_PART) {
        char shown[S3_CONTENT_RANGE_BYTES];
        ASSERT(range.len > 0 && range.offset < object_bytes && range.len <= object_bytes - range.offset);
        ASSERT(s3_range_format(&range, object_bytes, shown) < sizeof(shown));
    }
    if (s3_value_get(request, "x-amz-copy-source-range", &text) && s3_range_parse_copy(text, &range)) {
        ASSERT(range.len > 0 && range.offset + (range.len - 1) >= range.offset);
    }
}

static void check_ids(const struct block_cipher *cipher, struct slice text)
{
    struct meta_version_ref version;
    uint8_t upload[UPLOAD_ID_BYTES];
    char again[VERSION_ID_TEXT_BYTES];
    if (version_id_decode(cipher, text, &version) == ERRC_OK) {
        version_id_encode(cipher, version.seq, version.nonce, version.null_version, again);
        ASSERT(text.len == strlen(again) && strncasecmp((const char *)text.data, again, text.len) == 0);
    }
    if (upload_id_decode(text, upload)) {
        upload_id_encode(upload, again);
        ASSERT(text.len == strlen(again) && strncasecmp((const char *)text.data, again, text.len) == 0);
    }
}

static void check_rest(const struct s3_request *request, const struct block_cipher *cipher)
{
    struct s3_copy_source source;
    struct s3_overrides overrides;
    uint32_t part = 0;
    struct slice text;
    if (s3_copy_source_read(request, &source, NULL) == S3_ERROR_NONE) {
        ASSERT(source.bucket.len > 0 && source.key.len > 0 && source.key.len <= KEY_BYTES_MAX);
        check_ids(cipher, source.version_id);
    }
    if (s3_part_number_read(request, &part, NULL) == S3_ERROR_NONE) {
        ASSERT(part >= 1 && part <= 10000);
    }
    if (s3_overrides_read(request, &overrides, NULL) == S3_ERROR_NONE) {
        ASSERT(overrides.content_type.len == 0 ||
               memchr(overrides.content_type.data, '\n', overrides.content_type.len) == NULL);
    }
    accepted += s3_headers_unsupported(request, NULL) == S3_ERROR_NONE ? 1 : 0;
    accepted += s3_expected_owner_check(request, "x-amz-expected-bucket-owner", slice_str("123456789012"), NULL) ==
                        S3_ERROR_NONE ? 1 : 0;
    if (s3_value_get(request, "x-amz-version-id", &text)) { /* any header will do: the ids stand in queries */
        check_ids(cipher, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[BLOCK_CIPHER_BYTES] = { 1 };
    static struct block_cipher *cipher; /* reachable to the end: no leak */
    const struct s3_config config = { .region = slice_str("us-east-1") };
    struct s3_header headers[HEADERS_MAX];
    struct slice rest = slice_of(data, size);
    struct s3_request request = { .headers = headers, .host = slice_str("localhost") };
    struct arena arena;
    cipher = cipher != NULL ? cipher : block_cipher_create(key);
    arena_init(&arena, ARENA_BYTES);
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
    if (s3_request_parse(&request, &config, &arena, NULL) == S3_ERROR_NONE) {
        check_meta(&request);
        check_sums(&request);
        check_conditions(&request);
        check_range(&request, 0);
        check_range(&request, 100);
        check_range(&request, UINT64_MAX);
        check_rest(&request, cipher);
    }
    arena_done(&arena);
    return 0;
}
