#include "gateway/auth/auth_request.h"

#include "common/base/assert.h"
#include "common/base/checksum.h"
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "gateway/auth/auth_canonical.h"
#include "gateway/auth/auth_claim.h"
#include "gateway/auth/auth_sigv4.h"
#include "gateway/s3/s3_time.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* What an unknown access key is verified against, so that it costs what a known one costs. */
#define AUTH_NOBODY_SECRET "0000000000000000000000000000000000000000"

struct auth_run {
    const struct auth_config *config;
    struct s3_request *request;
    uint64_t wall_ms;
    struct s3_error_info *err;
    struct auth_claim claim;
    struct auth_result result;
};

/* Step 1: which form, and only one. */

static bool run_query_v4(const struct s3_request *request)
{
    static const char *const names[] = { "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (s3_param_get(request, names[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool run_query_v2(const struct s3_request *request)
{
    return s3_param_get(request, "AWSAccessKeyId") != NULL ||
           (s3_param_get(request, "Signature") != NULL && s3_param_get(request, "Expires") != NULL);
}

static enum s3_error run_scheme_header(struct auth_run *run, struct slice authorization)
{
    static const char v4[] = "AWS4-HMAC-SHA256";
    if (slice_starts(authorization, slice_str("AWS4-ECDSA-P256-SHA256"))) {
        return s3_fail(run->err, S3_ERROR_NOT_IMPLEMENTED, "AWS4-ECDSA-P256-SHA256 is not offered");
    }
    if (slice_starts(authorization, slice_str("AWS "))) {
        return s3_fail(run->err, S3_ERROR_INVALID_REQUEST,
                       "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.");
    }
    if (!slice_starts(authorization, slice_str(v4)) || authorization.len < sizeof(v4) ||
        (authorization.data[sizeof(v4) - 1] != ' ' && authorization.data[sizeof(v4) - 1] != ',')) {
        return s3_fail_argument(run->err, "Unsupported Authorization Type", "Authorization", authorization);
    }
    return auth_claim_header(run->request, authorization, &run->claim, run->err);
}

static enum s3_error run_scheme_query(struct auth_run *run)
{
    const struct s3_param *algorithm = s3_param_get(run->request, "X-Amz-Algorithm");
    if (algorithm != NULL && slice_equal_str(algorithm->value, "AWS4-ECDSA-P256-SHA256")) {
        return s3_fail(run->err, S3_ERROR_NOT_IMPLEMENTED, "AWS4-ECDSA-P256-SHA256 is not offered");
    }
    if (algorithm == NULL || !slice_equal_str(algorithm->value, "AWS4-HMAC-SHA256")) {
        return s3_fail(run->err, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS,
                       "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"");
    }
    return auth_claim_query(run->request, &run->claim, run->err);
}

static enum s3_error run_claim(struct auth_run *run)
{
    struct slice authorization = SLICE_EMPTY;
    bool has_header = s3_header_get(run->request, "authorization", &authorization);
    bool has_v4 = run_query_v4(run->request);
    bool has_v2 = run_query_v2(run->request);
    bool is_form = run->request->operation == S3_OPERATION_POST_OBJECT;
    if (has_header + has_v4 + has_v2 > 1) {
        return s3_fail_argument(run->err, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                                          "Signature query string parameter or the Authorization header should be "
                                          "specified", "Authorization", authorization);
    }
    if (has_header) {
        return run_scheme_header(run, s3_trim(authorization));
    }
    if (has_v4) {
        return run_scheme_query(run);
    }
    if (has_v2) {
        return s3_fail(run->err, S3_ERROR_INVALID_REQUEST,
                       "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.");
    }
    return is_form ? s3_fail(run->err, S3_ERROR_NOT_IMPLEMENTED, "Form uploads are not offered")
                   : s3_fail(run->err, S3_ERROR_ACCESS_DENIED, NULL);
}

/* Step 2: nothing twice, every x-amz-* header signed. */

static bool run_same_name(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0);
}

static bool run_once_only(struct slice name)
{
    static const char *const names[] = { "authorization", "host", "content-length", "content-type", "content-md5",
                                         "date", "transfer-encoding", "range" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (s3_name_equal(name, names[i])) {
            return true;
        }
    }
    return s3_name_starts(name, "x-amz-") && !s3_name_starts(name, "x-amz-meta-");
}

static enum s3_error run_duplicates(struct auth_run *run)
{
    const struct s3_request *request = run->request;
    for (size_t i = 0; i < request->header_count; i++) {
        for (size_t j = i + 1; j < request->header_count; j++) {
            struct slice name = request->headers[i].name;
            if (run_same_name(name, request->headers[j].name) && run_once_only(name)) {
                return s3_fail_argument(run->err, "A header is given more than once", "Header", name);
            }
        }
    }
    for (size_t i = 0; i < request->param_count; i++) {
        for (size_t j = i + 1; j < request->param_count; j++) {
            struct slice name = request->params[i].name;
            if (s3_name_starts(name, "x-amz-") && run_same_name(name, request->params[j].name)) {
                return s3_fail(run->err, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS,
                               "An X-Amz- query parameter is given more than once");
            }
        }
    }
    return S3_ERROR_NONE;
}

static bool run_is_signed(const struct auth_run *run, struct slice name)
{
    for (struct slice rest = run->claim.signed_names; rest.len > 0;) {
        const uint8_t *end = memchr(rest.data, ';', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        if (run_same_name(slice_of(rest.data, len), name)) {
            return true;
        }
        rest = slice_skip(rest, len + 1);
    }
    return false;
}

static enum s3_error run_all_signed(struct auth_run *run)
{
    struct slice unsigned_name = SLICE_EMPTY;
    if (!run_is_signed(run, slice_str("host"))) {
        unsigned_name = slice_str("host");
    }
    for (size_t i = 0; i < run->request->header_count; i++) {
        struct slice name = run->request->headers[i].name;
        if (s3_name_starts(name, "x-amz-") && !run_is_signed(run, name)) {
            unsigned_name = name;
        }
    }
    if (unsigned_name.len == 0) {
        return S3_ERROR_NONE;
    }
    enum s3_error code = s3_fail(run->err, S3_ERROR_ACCESS_DENIED,
                                 "There were headers present in the request which were not signed");
    s3_error_add(run->err, "HeadersNotSigned", unsigned_name);
    return code;
}

/* Step 3: time and region. */

static struct slice run_text(struct auth_run *run, const char *text)
{
    return slice_of(arena_strndup(run->request->arena, text, strlen(text)), strlen(text));
}

static void run_add_text(struct auth_run *run, const char *name, const char *text)
{
    struct slice copy = run_text(run, text);
    s3_error_add(run->err, name, copy.data == NULL ? SLICE_EMPTY : copy);
}

static enum s3_error run_time_header(struct auth_run *run)
{
    uint64_t date = run->claim.date_ms;
    uint64_t difference = date > run->wall_ms ? date - run->wall_ms : run->wall_ms - date;
    if (difference <= AUTH_SKEW_MAX_MS) {
        return S3_ERROR_NONE;
    }
    char now[S3_TIME_ISO_BYTES];
    s3_time_iso(run->wall_ms, now);
    enum s3_error code = s3_fail(run->err, S3_ERROR_REQUEST_TIME_TOO_SKEWED, NULL);
    run_add_text(run, "RequestTime", run->claim.date);
    run_add_text(run, "ServerTime", now);
    run_add_text(run, "MaxAllowedSkewMilliseconds", "900000");
    return code;
}

static enum s3_error run_time_presigned(struct auth_run *run)
{
    uint64_t ends_ms = run->claim.date_ms + run->claim.expires_seconds * 1000ull;
    if (run->claim.date_ms > run->wall_ms + AUTH_SKEW_MAX_MS) {
        return s3_fail(run->err, S3_ERROR_ACCESS_DENIED, "Request is not yet valid");
    }
    if (run->wall_ms <= ends_ms) {
        return S3_ERROR_NONE;
    }
    char text[S3_TIME_ISO_BYTES];
    char seconds[16];
    enum s3_error code = s3_fail(run->err, S3_ERROR_ACCESS_DENIED, "Request has expired");
    (void)snprintf(seconds, sizeof(seconds), "%" PRIu32, run->claim.expires_seconds); /* six digits */
    run_add_text(run, "X-Amz-Expires", seconds);
    s3_time_iso(ends_ms, text);
    run_add_text(run, "Expires", text);
    s3_time_iso(run->wall_ms, text);
    run_add_text(run, "ServerTime", text);
    return code;
}

static enum s3_error run_region(struct auth_run *run)
{
    if (slice_equal(run->claim.region, run->config->region) || (run->config->any_region && run->claim.region.len <= 64)) {
        return S3_ERROR_NONE;
    }
    bool is_query = run->claim.form == AUTH_FORM_PRESIGNED;
    enum s3_error code = s3_fail(run->err, is_query ? S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS
                                                    : S3_ERROR_AUTHORIZATION_HEADER_MALFORMED,
                                 "The region of the credential is wrong; sign for the region in this document");
    s3_error_add(run->err, "Region", run->config->region);
    return code;
}

static enum s3_error run_scope(struct auth_run *run)
{
    enum s3_error code = run->claim.form == AUTH_FORM_PRESIGNED ? run_time_presigned(run) : run_time_header(run);
    if (code == S3_ERROR_NONE) {
        code = run_region(run);
    }
    if (code != S3_ERROR_NONE) {
        return code;
    }
    int len = snprintf(run->result.scope, sizeof(run->result.scope), "%.8s/%.*s/s3/aws4_request",
                       (const char *)run->claim.day.data, (int)run->claim.region.len,
                       (const char *)run->claim.region.data);
    if (len < 0 || (size_t)len >= sizeof(run->result.scope)) {
        return s3_fail(run->err, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED, NULL);
    }
    memcpy(run->result.date, run->claim.date, sizeof(run->result.date));
    return S3_ERROR_NONE;
}

/* Step 4: how the body is protected. */

static const struct {
    const char *text;
    enum auth_payload payload;
    bool is_offered;
} run_payloads[] = {
    { "UNSIGNED-PAYLOAD", AUTH_PAYLOAD_UNSIGNED, true },
    { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", AUTH_PAYLOAD_CHUNKS_SIGNED, true },
    { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER, true },
    { "STREAMING-UNSIGNED-PAYLOAD-TRAILER", AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER, true },
    { "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", AUTH_PAYLOAD_UNSIGNED, false },
    { "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", AUTH_PAYLOAD_UNSIGNED, false },
};

static enum s3_error run_payload_mode(struct auth_run *run)
{
    struct slice text = run->claim.payload;
    bool is_lower = text.len == 2 * SHA256_BYTES;
    for (size_t i = 0; i < text.len; i++) {
        is_lower = is_lower && !(text.data[i] >= 'A' && text.data[i] <= 'F');
    }
    if (is_lower && hex_decode((const char *)text.data, text.len, run->result.payload_sha256)) {
        run->result.payload = AUTH_PAYLOAD_SHA256;
        return S3_ERROR_NONE;
    }
    for (size_t i = 0; i < sizeof(run_payloads) / sizeof(run_payloads[0]); i++) {
        if (!slice_equal_str(text, run_payloads[i].text)) {
            continue;
        }
        run->result.payload = run_payloads[i].payload;
        if (!run_payloads[i].is_offered) {
            return s3_fail(run->err, S3_ERROR_NOT_IMPLEMENTED, NULL);
        }
        if (auth_payload_is_chunked(run->result.payload) && run->claim.form == AUTH_FORM_PRESIGNED) {
            return s3_fail(run->err, S3_ERROR_INVALID_REQUEST, "A presigned request cannot carry a streaming payload");
        }
        return S3_ERROR_NONE;
    }
    return s3_fail_argument(run->err, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
                                      "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or "
                                      "a valid sha256 value.", "x-amz-content-sha256", text);
}

static enum s3_error run_decoded_length(struct auth_run *run)
{
    struct slice text = SLICE_EMPTY;
    bool is_valid = s3_header_get(run->request, "x-amz-decoded-content-length", &text);
    text = s3_trim(text);
    is_valid = is_valid && text.len > 0 && text.len <= 18;
    for (size_t i = 0; i < text.len && is_valid; i++) {
        is_valid = text.data[i] >= '0' && text.data[i] <= '9';
        run->result.decoded_bytes = run->result.decoded_bytes * 10 + (uint64_t)(text.data[i] & 15);
    }
    return is_valid ? S3_ERROR_NONE : s3_fail(run->err, S3_ERROR_MISSING_CONTENT_LENGTH, NULL);
}

static enum s3_error run_trailer(struct auth_run *run)
{
    struct slice name = SLICE_EMPTY;
    bool has_name = s3_header_get(run->request, "x-amz-trailer", &name);
    bool wants_name = run->result.payload == AUTH_PAYLOAD_CHUNKS_SIGNED_TRAILER ||
                      run->result.payload == AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER;
    if (!has_name) {
        return wants_name ? s3_fail(run->err, S3_ERROR_MALFORMED_TRAILER, NULL) : S3_ERROR_NONE;
    }
    if (!wants_name) {
        return s3_fail(run->err, S3_ERROR_INVALID_REQUEST,
                       "x-amz-trailer needs an x-amz-content-sha256 value that announces a trailer");
    }
    enum checksum_kind kind = checksum_by_header(s3_trim(name));
    if (kind == CHECKSUM_NONE) {
        return s3_fail(run->err, S3_ERROR_INVALID_REQUEST,
                       "The value specified in the x-amz-trailer header is not supported");
    }
    run->result.trailer_name = slice_str(checksum_header(kind));
    return S3_ERROR_NONE;
}

static enum s3_error run_payload(struct auth_run *run)
{
    enum s3_error code = run_payload_mode(run);
    bool is_unsigned = run->result.payload == AUTH_PAYLOAD_UNSIGNED ||
                       run->result.payload == AUTH_PAYLOAD_CHUNKS_UNSIGNED_TRAILER;
    if (code == S3_ERROR_NONE && is_unsigned && run->claim.form == AUTH_FORM_HEADER && !run->request->is_tls &&
        run->config->refuse_unsigned_without_tls) {
        code = s3_fail(run->err, S3_ERROR_ACCESS_DENIED, "An unsigned payload needs a TLS connection");
    }
    if (code == S3_ERROR_NONE && auth_payload_is_chunked(run->result.payload)) {
        code = run_decoded_length(run);
    }
    return code == S3_ERROR_NONE ? run_trailer(run) : code;
}

/* Step 5: the signature. */

static void run_add_bytes(struct auth_run *run, const char *name, struct slice bytes)
{
    char *text = arena_alloc(run->request->arena, bytes.len * 3 + 1);
    if (text == NULL) {
        return;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        hex_encode(bytes.data + i, 1, text + 3 * i);
        text[3 * i + 2] = ' ';
    }
    s3_error_add(run->err, name, slice_of(text, bytes.len > 0 ? bytes.len * 3 - 1 : 0));
}

static enum s3_error run_mismatch(struct auth_run *run, struct slice canonical, struct slice to_sign)
{
    enum s3_error code = s3_fail(run->err, S3_ERROR_SIGNATURE_DOES_NOT_MATCH, NULL);
    struct slice canonical_copy = arena_copy(run->request->arena, canonical);
    struct slice to_sign_copy = arena_copy(run->request->arena, to_sign);
    s3_error_add(run->err, "AWSAccessKeyId", run->claim.access_key);
    s3_error_add(run->err, "SignatureProvided", run->claim.signature);
    if (canonical_copy.data != NULL && to_sign_copy.data != NULL) {
        s3_error_add(run->err, "StringToSign", to_sign_copy);
        run_add_bytes(run, "StringToSignBytes", to_sign);
        s3_error_add(run->err, "CanonicalRequest", canonical_copy);
        run_add_bytes(run, "CanonicalRequestBytes", canonical);
    }
    return code;
}

/* Unknown keys run the same steps with nobody's secret and are told apart only at the end. */
static enum s3_error run_verify(struct auth_run *run)
{
    struct auth_identity identity = { .secret_len = 0 };
    const struct auth_identities *who = &run->config->identities;
    bool is_known = who->find(who->data, run->claim.access_key, &identity) && !identity.is_disabled;
    if (!is_known) {
        identity = (struct auth_identity){ .secret_len = sizeof(AUTH_NOBODY_SECRET) - 1 };
        memcpy(identity.secret, AUTH_NOBODY_SECRET, identity.secret_len);
    }
    ASSERT(identity.secret_len <= AUTH_SECRET_BYTES_MAX);
    auth_key_cache_get(run->config->cache, is_known ? run->claim.access_key : SLICE_EMPTY,
                       slice_of(identity.secret, identity.secret_len), run->claim.day, run->claim.region,
                       slice_str("s3"), run->result.signing_key);
    mem_wipe(identity.secret, sizeof(identity.secret));

    struct enc canonical = ENC_INIT;
    struct enc to_sign = ENC_INIT;
    uint8_t hash[SHA256_BYTES];
    bool all_found = auth_canonical_request(&canonical, run->request, run->claim.signed_names, run->claim.payload,
                                            run->claim.form == AUTH_FORM_PRESIGNED);
    sha256_once(canonical.data, canonical.len, hash);
    auth_string_to_sign(&to_sign, run->result.date, run->result.scope, hash);
    auth_signature(run->result.signing_key, enc_slice(&to_sign), run->result.seed_signature);
    bool is_equal = auth_signature_equal(run->claim.signature, run->result.seed_signature);

    enum s3_error code = S3_ERROR_NONE;
    if (!is_known) {
        code = s3_fail(run->err, S3_ERROR_INVALID_ACCESS_KEY_ID, NULL);
        s3_error_add(run->err, "AWSAccessKeyId", run->claim.access_key);
    } else if (!is_equal || !all_found) {
        code = run_mismatch(run, enc_slice(&canonical), enc_slice(&to_sign));
    }
    run->result.is_root = identity.is_root;
    run->result.access_key = run->claim.access_key;
    enc_free(&canonical);
    enc_free(&to_sign);
    return code;
}

/* Session tokens are not issued yet, so any token is one of nobody's. */
static enum s3_error run_token(struct auth_run *run)
{
    struct slice token;
    if (s3_header_get(run->request, "x-amz-security-token", &token) ||
        s3_param_get(run->request, "X-Amz-Security-Token") != NULL) {
        return s3_fail(run->err, S3_ERROR_INVALID_TOKEN, NULL);
    }
    return S3_ERROR_NONE;
}

enum s3_error auth_check(const struct auth_config *config, struct s3_request *request, uint64_t wall_ms,
                         struct auth_result *ret, struct s3_error_info *err)
{
    static enum s3_error (*const steps[])(struct auth_run *run) = { run_duplicates, run_claim,  run_all_signed,
                                                                   run_scope,      run_payload, run_verify,
                                                                   run_token };
    struct auth_run run = { .config = config, .request = request, .wall_ms = wall_ms, .err = err };
    enum s3_error code = S3_ERROR_NONE;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && code == S3_ERROR_NONE; i++) {
        code = steps[i](&run);
    }
    if (code == S3_ERROR_NONE) {
        run.result.form = run.claim.form;
        *ret = run.result;
    }
    auth_result_wipe(&run.result);
    return code;
}

void auth_result_wipe(struct auth_result *result)
{
    mem_wipe(result->signing_key, sizeof(result->signing_key));
}
