#include "gateway/s3/s3_condition.h"

#include "gateway/s3/s3_time.h"

#include <stdio.h>

#define CONDITION_NAME_BYTES 64

static bool condition_value(const struct s3_request *request, const char *prefix, const char *name,
                            struct slice *ret_value)
{
    char full[CONDITION_NAME_BYTES];
    (void)snprintf(full, sizeof(full), "%s%s", prefix, name); /* both ours; fits */
    return s3_value_get(request, full, ret_value);
}

static bool condition_date(const struct s3_request *request, const char *prefix, const char *name,
                           uint64_t *ret_ms)
{
    struct slice value;
    if (!condition_value(request, prefix, name, &value)) {
        return false;
    }
    return s3_time_parse_http(value, ret_ms) || s3_time_parse_iso(value, ret_ms);
}

void s3_conditions_read(const struct s3_request *request, const char *prefix,
                        struct s3_conditions *ret_conditions)
{
    struct s3_conditions c = { 0 };
    c.has_if_match = condition_value(request, prefix, "if-match", &c.if_match);
    c.has_if_none_match = condition_value(request, prefix, "if-none-match", &c.if_none_match);
    c.has_modified_since = condition_date(request, prefix, "if-modified-since", &c.modified_since_ms);
    c.has_unmodified_since = condition_date(request, prefix, "if-unmodified-since", &c.unmodified_since_ms);
    *ret_conditions = c;
}

struct slice s3_etag_bare(struct slice text)
{
    text = s3_trim(text);
    if (text.len > 2 && text.data[0] == 'W' && text.data[1] == '/') {
        text = slice_skip(text, 2);
    }
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"') {
        text = slice_of(text.data + 1, text.len - 2);
    }
    return text;
}

bool s3_etag_matches(struct slice list, struct slice etag)
{
    list = s3_trim(list);
    if (slice_equal_str(list, "*")) {
        return true;
    }
    while (list.len > 0) {
        const uint8_t *comma = memchr(list.data, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.data);
        struct slice one = s3_etag_bare(slice_of(list.data, len));
        if (one.len > 0 && slice_equal(one, etag)) {
            return true;
        }
        list = slice_skip(list, len + 1);
    }
    return false;
}

static enum s3_condition_outcome condition_failed(const char *name, const char **ret_failed)
{
    *ret_failed = name;
    return S3_CONDITION_FAILED;
}

enum s3_condition_outcome s3_condition_read(const struct s3_conditions *conditions, struct slice etag,
                                            uint64_t modified_ms, uint64_t now_ms, const char **ret_failed)
{
    uint64_t modified = modified_ms / 1000;
    if (conditions->has_if_match) {
        if (!s3_etag_matches(conditions->if_match, etag)) {
            return condition_failed("If-Match", ret_failed);
        }
    } else if (conditions->has_unmodified_since && modified > conditions->unmodified_since_ms / 1000) {
        return condition_failed("If-Unmodified-Since", ret_failed);
    }
    if (conditions->has_if_none_match) {
        if (s3_etag_matches(conditions->if_none_match, etag)) {
            *ret_failed = "If-None-Match";
            return S3_CONDITION_NOT_MODIFIED;
        }
    } else if (conditions->has_modified_since && conditions->modified_since_ms <= now_ms &&
               modified <= conditions->modified_since_ms / 1000) {
        *ret_failed = "If-Modified-Since";
        return S3_CONDITION_NOT_MODIFIED;
    }
    return S3_CONDITION_PASS;
}

enum s3_condition_outcome s3_condition_copy_source(const struct s3_conditions *conditions, struct slice etag,
                                                   uint64_t modified_ms, uint64_t now_ms,
                                                   const char **ret_failed)
{
    static const char *const names[][2] = {
        { "If-Match", "x-amz-copy-source-If-Match" },
        { "If-None-Match", "x-amz-copy-source-If-None-Match" },
        { "If-Modified-Since", "x-amz-copy-source-If-Modified-Since" },
        { "If-Unmodified-Since", "x-amz-copy-source-If-Unmodified-Since" },
    };
    const char *failed = "";
    enum s3_condition_outcome outcome = s3_condition_read(conditions, etag, modified_ms, now_ms, &failed);
    for (size_t i = 0; outcome != S3_CONDITION_PASS && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(failed, names[i][0]) == 0) {
            *ret_failed = names[i][1];
        }
    }
    return outcome == S3_CONDITION_PASS ? S3_CONDITION_PASS : S3_CONDITION_FAILED;
}

enum s3_error s3_write_condition_read(const struct s3_request *request, bool allow_any,
                                      struct s3_write_condition *ret, struct s3_error_info *err)
{
    struct s3_write_condition condition = { 0 };
    struct slice value;
    if (s3_value_get(request, "if-none-match", &value)) {
        if (!slice_equal_str(value, "*")) {
            return s3_fail(err, S3_ERROR_NOT_IMPLEMENTED,
                           "If-None-Match on a write is offered with the value * only");
        }
        condition.if_none_match_any = true;
    }
    if (s3_value_get(request, "if-match", &value)) {
        condition.if_match = s3_etag_bare(value);
        condition.if_match_any = slice_equal_str(value, "*");
        bool is_list = value.len > 0 && memchr(value.data, ',', value.len) != NULL;
        if (is_list || (condition.if_match_any && !allow_any)) {
            return s3_fail(err, S3_ERROR_NOT_IMPLEMENTED, "If-Match on a write takes one ETag");
        }
        if (condition.if_match.len == 0) {
            return s3_fail_argument(err, "If-Match is empty", "If-Match", value);
        }
    }
    if (s3_header_count(request, "if-unmodified-since") + s3_header_count(request, "if-modified-since") > 0) {
        return s3_fail(err, S3_ERROR_NOT_IMPLEMENTED, "Date conditions are not offered on writes");
    }
    *ret = condition;
    return S3_ERROR_NONE;
}
