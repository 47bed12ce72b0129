#include "gateway/handlers/object_record.h"

#include "common/base/assert.h"

/* System headers that are stored, under the names that they are sent with. */
#define STORED_HEADERS(X)                            \
    X("Content-Type", content_type)                  \
    X("Cache-Control", cache_control)                \
    X("Content-Disposition", content_disposition)    \
    X("Content-Encoding", content_encoding)          \
    X("Content-Language", content_language)          \
    X("Expires", expires)

#define REDIRECT_HEADER "x-amz-website-redirect-location"
#define CONTENT_TYPE_DEFAULT "binary/octet-stream"
#define META_PREFIX "x-amz-meta-"

/* ---- in ---- */

static struct slice pairs_keep(struct request *r, struct enc *enc)
{
    struct slice copy = arena_copy(&r->scratch, enc_slice(enc)); /* at most some KiB: bounded by the head */
    ASSERT(IMPLIES(copy.len > 0, copy.data != NULL));
    enc_free(enc);
    return copy;
}

static void record_encode(struct request *r, const struct s3_object_headers *headers, struct object_record *ret)
{
    struct enc system = ENC_INIT;
#define X(name, field)                                                       \
    if (headers->field.len > 0) {                                            \
        meta_pairs_append(&system, slice_str(name), headers->field);         \
    }
    STORED_HEADERS(X)
#undef X
    if (headers->redirect.len > 0) {
        meta_pairs_append(&system, slice_str(REDIRECT_HEADER), headers->redirect);
    }
    struct enc user = ENC_INIT;
    for (size_t i = 0; i < headers->meta_count; i++) {
        meta_pairs_append(&user, headers->meta[i].name, headers->meta[i].value);
    }
    bool standard = headers->storage_class.len == 0 || slice_equal_str(headers->storage_class, "STANDARD");
    ret->headers = pairs_keep(r, &system);
    ret->user_metadata = pairs_keep(r, &user);
    ret->storage_class = standard ? SLICE_EMPTY : headers->storage_class;
}

enum s3_error object_record_read(struct request *r, struct object_record *ret_record)
{
    struct s3_object_headers headers;
    if (s3_headers_unsupported(&r->s3, &r->err) != S3_ERROR_NONE ||
        s3_object_headers_read(&r->s3, &headers, &r->err) != S3_ERROR_NONE) {
        return r->err.code;
    }
    record_encode(r, &headers, ret_record);
    return S3_ERROR_NONE;
}

struct slice object_record_inherit(struct request *r, const struct object_record *own, const struct meta_body *source)
{
    struct enc pairs = ENC_INIT;
    struct meta_pair pair;
    for (size_t at = 0; meta_pairs_next(source->headers, &at, &pair);) {
        if (!slice_equal_str(pair.name, REDIRECT_HEADER)) {
            meta_pairs_append(&pairs, pair.name, pair.value);
        }
    }
    for (size_t at = 0; meta_pairs_next(own->headers, &at, &pair);) {
        if (slice_equal_str(pair.name, REDIRECT_HEADER)) {
            meta_pairs_append(&pairs, pair.name, pair.value);
        }
    }
    return pairs_keep(r, &pairs);
}

enum s3_error object_conditions_read(struct request *r, bool allow_any, struct meta_conditions *ret)
{
    struct s3_write_condition wanted;
    *ret = (struct meta_conditions){ .if_match = SLICE_EMPTY };
    enum s3_error code = s3_write_condition_read(&r->s3, allow_any, &wanted, &r->err);
    if (code != S3_ERROR_NONE) {
        return code;
    }
    ret->if_match = wanted.if_match_any ? slice_str("*") : wanted.if_match;
    ret->if_none_match = wanted.if_none_match_any ? slice_str("*") : SLICE_EMPTY;
    return S3_ERROR_NONE;
}

bool object_conditions_any(const struct meta_conditions *conditions)
{
    return conditions->if_match.len > 0 || conditions->if_none_match.len > 0 || conditions->has_size ||
           conditions->has_mtime;
}

void object_write_refused(struct request *r, const struct meta_conditions *conditions, enum meta_outcome outcome)
{
    if (outcome != META_PRECONDITION) {
        request_fail_outcome(r, outcome);
        return;
    }
    const char *name = "If-None-Match";
    if (conditions->if_match.len > 0) {
        name = "If-Match";
    } else if (conditions->has_size) {
        name = "x-amz-if-match-size";
    } else if (conditions->has_mtime) {
        name = "x-amz-if-match-last-modified-time";
    }
    r->err = (struct s3_error_info)S3_ERROR_INFO_INIT;
    (void)s3_fail(&r->err, S3_ERROR_PRECONDITION_FAILED, NULL); /* returns the code that was given */
    s3_error_add(&r->err, "Condition", slice_str(name));
    request_fail(r);
}

struct meta_row object_row(struct request *r, const struct object_record *record, struct slice etag, uint64_t size,
                           const struct checksum_value *checksum)
{
    struct env *env = request_config(r)->env;
    uint64_t nonce;
    env_random(env, &nonce, sizeof(nonce));
    return (struct meta_row){
        .nonce = nonce,
        .mtime_ms = env_wall_ms(env),
        .size = size,
        .checksum_algorithm = (uint8_t)checksum->kind,
        .checksum_type = checksum->type == CHECKSUM_COMPOSITE,
        .etag = etag,
        .storage_class = record->storage_class,
    };
}

enum s3_error object_version_parse(struct request *r, struct slice text, bool *ret_has,
                                   struct meta_version_ref *ret_version)
{
    if (version_id_decode(request_cipher(r), text, ret_version) != ERRC_OK) {
        return s3_fail_argument(&r->err, "Invalid version id specified", "versionId", text);
    }
    *ret_has = true;
    return S3_ERROR_NONE;
}

enum s3_error object_version_read(struct request *r, bool *ret_has, struct meta_version_ref *ret_version)
{
    const struct s3_param *param = s3_param_get(&r->s3, "versionId");
    *ret_has = false;
    *ret_version = (struct meta_version_ref){ .seq = 0 };
    return param != NULL ? object_version_parse(r, param->value, ret_has, ret_version) : S3_ERROR_NONE;
}

void object_version_header(struct request *r, const struct meta_result *result)
{
    if (result->versioned) {
        request_header_version(r, "x-amz-version-id", result->seq, result->nonce, result->null_version);
    }
}

/* ---- out ---- */

static struct slice override_of(const struct s3_overrides *overrides, struct slice name)
{
    if (overrides == NULL) {
        return SLICE_EMPTY;
    }
#define X(text, field)                     \
    if (slice_equal_str(name, text)) {     \
        return overrides->field;           \
    }
    STORED_HEADERS(X)
#undef X
    return SLICE_EMPTY;
}

static void system_headers_write(struct request *r, struct slice pairs, const struct s3_overrides *overrides)
{
    struct meta_pair pair;
    bool has_type = false;
    for (size_t at = 0; meta_pairs_next(pairs, &at, &pair);) {
        if (override_of(overrides, pair.name).len > 0) {
            continue;
        }
        has_type = has_type || slice_equal_str(pair.name, "Content-Type");
        (void)request_header_named(r, pair.name, pair.value); /* checked when it came in */
    }
    if (overrides != NULL) {
#define X(name, field)                                                           \
        if (overrides->field.len > 0) {                                          \
            (void)request_header(r, name, overrides->field); /* checked */       \
        }
        STORED_HEADERS(X)
#undef X
        has_type = has_type || overrides->content_type.len > 0;
    }
    if (!has_type) {
        request_header_str(r, "Content-Type", CONTENT_TYPE_DEFAULT);
    }
}

static void user_headers_write(struct request *r, struct slice pairs)
{
    struct meta_pair pair;
    uint64_t missing = 0;
    for (size_t at = 0; meta_pairs_next(pairs, &at, &pair);) {
        struct slice text;
        char *name = arena_format(&r->scratch, META_PREFIX "%.*s", (int)pair.name.len, (const char *)pair.name.data);
        if (name == NULL || !s3_meta_header_value(&r->scratch, pair.value, &text) ||
            !request_header_named(r, slice_str(name), text)) {
            missing++;
        }
    }
    if (missing > 0) {
        request_header_u64(r, "x-amz-missing-meta", missing);
    }
}

void object_headers_write(struct request *r, const struct meta_row *row, const struct meta_body *body,
                          const struct s3_overrides *overrides)
{
    system_headers_write(r, body->headers, overrides);
    user_headers_write(r, body->user_metadata);
    if (row->storage_class.len > 0 && !slice_equal_str(row->storage_class, "STANDARD")) {
        (void)request_header(r, "x-amz-storage-class", row->storage_class); /* a name of S3 */
    }
}
