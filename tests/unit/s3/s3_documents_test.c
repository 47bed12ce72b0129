/*
 * Goal: listing tokens are authentic, XML bodies are read strictly, results are written whole.
 * Method: bodies and documents in tables. How keys fold: tests/unit/metadata.
 */
#include "gateway/s3/s3_listing.h"
#include "gateway/s3/s3_result.h"
#include "gateway/s3/s3_xml_read.h"
#include "gateway/s3/s3_xml_write.h"

#include "common/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void tokens_are_authentic(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1u << 16);
    const uint8_t key[S3_TOKEN_KEY_BYTES] = { 1, 2, 3 };
    const uint8_t other[S3_TOKEN_KEY_BYTES] = { 1, 2, 4 };
    struct s3_position position = { .key = slice_str("a/\xe2\x98\x83"), .is_prefix = true, .id = slice_str("v1") };
    struct s3_position back;
    struct slice token = s3_token_encode(&arena, key, slice_str("bucket"), &position);
    assert_true(s3_token_decode(&arena, key, slice_str("bucket"), token, &back));
    assert_true(slice_equal(back.key, position.key));
    assert_true(slice_equal(back.id, position.id));
    assert_true(back.is_prefix);
    assert_false(s3_token_decode(&arena, other, slice_str("bucket"), token, &back));
    assert_false(s3_token_decode(&arena, key, slice_str("bucket2"), token, &back));
    assert_false(s3_token_decode(&arena, key, slice_str("bucket"), SLICE_EMPTY, &back));
    char *bent = arena_strndup(&arena, token.data, token.len);
    for (size_t i = 0; i < token.len; i++) {
        bent[i] = bent[i] == 'A' ? 'B' : 'A';
        assert_false(s3_token_decode(&arena, key, slice_str("bucket"), slice_of(bent, token.len), &back));
        bent[i] = (char)token.data[i];
    }
    arena_done(&arena);
}

#define OBJECT(k) "<Object><Key>" k "</Key></Object>"

static void delete_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t count;
        enum s3_error code;
    } rows[] = {
        { "<Delete>" OBJECT("a") OBJECT("b") "</Delete>", 2, S3_ERROR_NONE },
        { "<?xml version='1.0' encoding='UTF-8'?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n <Quiet> true </Quiet>\n " OBJECT("a") "\n</Delete>\n", 1, S3_ERROR_NONE },
        { "<s:Delete xmlns:s=\"https://s3.amazonaws.com/doc/2006-03-01/\"><s:Object><s:Key>a</s:Key></s:Object></s:Delete>", 1, S3_ERROR_NONE },
        { "<Delete xmlns=\"urn:other\">" OBJECT("a") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete></Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Remove>" OBJECT("a") "</Remove>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete><Object></Object></Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete><Object><Key><b/></Key></Object></Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete><Object><Key>a</Key><Size>x</Size></Object></Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>text" OBJECT("a") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>" OBJECT("a"), 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>" OBJECT("a") "</Delete><x/>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>" OBJECT("&x;") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<!DOCTYPE Delete><Delete>" OBJECT("a") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<!DOCTYPE d [<!ENTITY x \"y\">]><Delete>" OBJECT("&x;") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<!DOCTYPE d SYSTEM \"file:///etc/passwd\"><Delete>" OBJECT("a") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>" OBJECT("\xff") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "<Delete>" OBJECT("&#0;") "</Delete>", 0, S3_ERROR_MALFORMED_XML },
        { "", 0, S3_ERROR_MISSING_REQUEST_BODY },
        { " \n", 0, S3_ERROR_MISSING_REQUEST_BODY },
        { "{}", 0, S3_ERROR_MALFORMED_XML },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        struct s3_delete_request request;
        arena_init(&arena, 1u << 20);
        assert_string_equal(s3_error_code(s3_xml_read_delete(&arena, slice_str(rows[i].text), &request, NULL)),
                            s3_error_code(rows[i].code));
        if (rows[i].code == S3_ERROR_NONE) {
            assert_int_equal(request.entry_count, rows[i].count);
            assert_true(slice_equal_str(request.entries[0].key, "a"));
        }
        arena_done(&arena);
    }
}

static void delete_keys_keep_their_bytes(void **state)
{
    (void)state;
    struct arena arena;
    struct s3_delete_request request;
    arena_init(&arena, 1u << 20);
    const char *text = "<Delete><Object><Key> ../a&#13;b&amp;&lt;<![CDATA[<c>]]> </Key><VersionId> v </VersionId>"
                       "<ETag>&quot;e&quot;</ETag><Size>12</Size></Object></Delete>";
    assert_int_equal(s3_xml_read_delete(&arena, slice_str(text), &request, NULL), S3_ERROR_NONE);
    assert_true(slice_equal_str(request.entries[0].key, " ../a\rb&<<c> "));
    assert_true(slice_equal_str(request.entries[0].version_id, "v"));
    assert_true(slice_equal_str(request.entries[0].etag, "e"));
    assert_int_equal(request.entries[0].size, 12);
    arena_done(&arena);
}

static void delete_takes_a_thousand(void **state)
{
    (void)state;
    for (int count = 1000; count <= 1001; count++) {
        struct enc body = ENC_INIT;
        struct arena arena;
        struct s3_delete_request request;
        arena_init(&arena, 4u << 20);
        s3_xml_raw(&body, "<Delete>");
        for (int i = 0; i < count; i++) {
            s3_xml_raw(&body, OBJECT("k"));
        }
        s3_xml_raw(&body, "</Delete>");
        assert_int_equal(s3_xml_read_delete(&arena, enc_slice(&body), &request, NULL),
                         count == 1000 ? S3_ERROR_NONE : S3_ERROR_MALFORMED_XML);
        enc_free(&body);
        arena_done(&arena);
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    struct enc body = ENC_INIT;
    struct arena arena;
    struct s3_complete_request request;
    arena_init(&arena, 1u << 20);
    s3_xml_raw(&body, "<CompleteMultipartUpload>");
    for (int i = 0; i < 500000; i++) {
        s3_xml_raw(&body, "<a>");
    }
    assert_int_equal(s3_xml_read_complete(&arena, enc_slice(&body), &request, NULL), S3_ERROR_MALFORMED_XML);
    enc_free(&body);
    arena_done(&arena);
}

#define PART(n, e) "<Part><PartNumber>" n "</PartNumber><ETag>" e "</ETag></Part>"

static void complete_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum s3_error code;
    } rows[] = {
        { PART("1", "\"a\"") PART("2", "b"), S3_ERROR_NONE },
        { "<Part><ETag>a</ETag><PartNumber> 1 </PartNumber><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part>", S3_ERROR_NONE },
        { "", S3_ERROR_MALFORMED_XML },
        { "<Part><ETag>a</ETag></Part>", S3_ERROR_MALFORMED_XML },
        { "<Part><PartNumber>1</PartNumber></Part>", S3_ERROR_MALFORMED_XML },
        { PART("0", "a"), S3_ERROR_INVALID_ARGUMENT },
        { PART("x", "a"), S3_ERROR_INVALID_ARGUMENT },
        { "<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumXXHASH64>a</ChecksumXXHASH64></Part>", S3_ERROR_INVALID_REQUEST },
        { "<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>a</ChecksumCRC32></Part>", S3_ERROR_INVALID_REQUEST },
        { "<Parts>" PART("1", "a") "</Parts>", S3_ERROR_MALFORMED_XML },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena arena;
        struct s3_complete_request request;
        arena_init(&arena, 1u << 20);
        char *text = arena_format(&arena, "<CompleteMultipartUpload>%s</CompleteMultipartUpload>", rows[i].text);
        assert_int_equal(s3_xml_read_complete(&arena, slice_str(text), &request, NULL), rows[i].code);
        if (rows[i].code == S3_ERROR_NONE) {
            assert_int_equal(request.parts[0].number, 1);
            assert_true(slice_equal_str(request.parts[0].etag, "a"));
        }
        arena_done(&arena);
    }
}

static void bucket_bodies(void **state)
{
    (void)state;
    struct arena arena;
    struct s3_create_bucket_request create;
    enum s3_versioning versioning;
    arena_init(&arena, 1u << 16);
    assert_int_equal(s3_xml_read_create_bucket(&arena, SLICE_EMPTY, &create, NULL), S3_ERROR_NONE);
    assert_int_equal(create.location.len, 0);
    assert_int_equal(s3_xml_read_create_bucket(&arena, slice_str("<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"), &create, NULL), S3_ERROR_NONE);
    assert_true(slice_equal_str(create.location, "eu-west-1"));
    assert_int_equal(s3_xml_read_create_bucket(&arena, slice_str("<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>"), &create, NULL), S3_ERROR_NOT_IMPLEMENTED);
    static const struct {
        const char *text;
        enum s3_error code;
    } rows[] = {
        { "<Status>Enabled</Status>", S3_ERROR_NONE }, { "<Status>Suspended</Status><MfaDelete>Disabled</MfaDelete>", S3_ERROR_NONE },
        { "<Status>On</Status>", S3_ERROR_MALFORMED_XML }, { "", S3_ERROR_ILLEGAL_VERSIONING_CONFIGURATION },
        { "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", S3_ERROR_NOT_IMPLEMENTED },
        { "<Status>Enabled</Status><Status>Suspended</Status>", S3_ERROR_MALFORMED_XML },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = arena_format(&arena, "<VersioningConfiguration>%s</VersioningConfiguration>", rows[i].text);
        assert_int_equal(s3_xml_read_versioning(&arena, slice_str(text), &versioning, NULL), rows[i].code);
    }
    arena_done(&arena);
}

static void expect_text(struct enc *out, const char *text)
{
    enc_u8(out, 0);
    assert_string_equal((const char *)out->data, text);
    enc_reset(out);
}

static void text_is_escaped(void **state)
{
    (void)state;
    struct enc out = ENC_INIT;
    s3_xml_text(&out, slice_of("<a&\"b\">\r\n\t\x01\xff\xed\xa0\x80\xef\xbf\xbf\xe2\x98\x83\xf0\x9f\x98\x80", 25));
    expect_text(&out, "&lt;a&amp;&quot;b&quot;&gt;&#13;\n\t\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                      "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xe2\x98\x83\xf0\x9f\x98\x80");
    enc_free(&out);
}

#define ROOT(name) "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<" name " xmlns=\"" S3_XML_NAMESPACE "\">"

static void listings_are_written_whole(void **state)
{
    (void)state;
    struct enc out = ENC_INIT;
    struct s3_owner owner = { slice_str("id"), slice_str("me") };
    struct s3_list_entry entries[] = {
        { .key = slice_str("a b"), .etag = slice_str("e"), .bytes = 5, .storage_class = slice_str("STANDARD"), .owner = owner,
          .checksum_kind = CHECKSUM_CRC32, .checksum_type = CHECKSUM_FULL_OBJECT },
        { .is_prefix = true, .key = slice_str("p/") },
    };
    struct s3_list_params params = { .delimiter = slice_str("/"), .has_delimiter = true, .max = 2, .url_encoding = true };
    struct s3_list_result result = { .bucket = slice_str("b"), .params = &params, .entries = entries, .entry_count = 2,
                                     .is_truncated = true, .next_marker = slice_str("p/"), .next_token = slice_str("T") };
    s3_result_list_v2(&out, &result);
    expect_text(&out, ROOT("ListBucketResult") "<Name>b</Name><Prefix></Prefix><NextContinuationToken>T</NextContinuationToken>"
                "<KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated>"
                "<EncodingType>url</EncodingType><Contents><Key>a%20b</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified>"
                "<ETag>&quot;e&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
                "<Size>5</Size><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
                "</ListBucketResult>");
    s3_result_list(&out, &result);
    enc_u8(&out, 0);
    assert_non_null(strstr((const char *)out.data, "<NextMarker>p/</NextMarker>"));
    assert_non_null(strstr((const char *)out.data, "<Owner><ID>id</ID><DisplayName>me</DisplayName></Owner>"));
    enc_free(&out);
}

static void errors_and_deletes_are_written_whole(void **state)
{
    (void)state;
    struct enc out = ENC_INIT;
    struct s3_error_info err;
    (void)s3_fail_argument(&err, NULL, "max-keys", slice_str("<x>"));
    s3_error_write(&out, &err, slice_str("/b"), slice_str("R"), slice_str("H"));
    expect_text(&out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidArgument</Code><Message>Invalid Argument</Message>"
                "<ArgumentName>max-keys</ArgumentName><ArgumentValue>&lt;x&gt;</ArgumentValue><Resource>/b</Resource>"
                "<RequestId>R</RequestId><HostId>H</HostId></Error>");
    struct s3_deleted_entry entries[] = { { .key = slice_str("a") }, { .key = slice_str("b"), .error = S3_ERROR_ACCESS_DENIED } };
    s3_result_delete(&out, false, entries, 2);
    expect_text(&out, ROOT("DeleteResult") "<Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
                "<Message>Access Denied</Message></Error></DeleteResult>");
    s3_result_location(&out, slice_str("us-east-1"));
    expect_text(&out, ROOT("LocationConstraint") "</LocationConstraint>");
    enc_free(&out);
    assert_int_equal(s3_error_status(S3_ERROR_NO_SUCH_KEY), 404);
    for (int code = 0; code < ERRC_COUNT; code++) {
        assert_true(s3_error_status(s3_error_from_errc((enum errc)code)) >= 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_authentic),
        cmocka_unit_test(delete_bodies),
        cmocka_unit_test(delete_keys_keep_their_bytes),
        cmocka_unit_test(delete_takes_a_thousand),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(complete_bodies),
        cmocka_unit_test(bucket_bodies),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(listings_are_written_whole),
        cmocka_unit_test(errors_and_deletes_are_written_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
