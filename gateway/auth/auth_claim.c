#include "gateway/auth/auth_claim.h"

#include "gateway/s3/s3_time.h"

/* The first five parts between slashes; false unless there are exactly five, none empty. */
static bool claim_credential(struct slice text, struct auth_claim *claim)
{
    struct slice *const parts[] = { &claim->access_key, &claim->day, &claim->region, &claim->service,
                                    &claim->terminator };
    for (size_t i = 0; i < 5; i++) {
        const uint8_t *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
        if ((slash == NULL) != (i == 4)) {
            return false;
        }
        size_t len = slash == NULL ? text.len : (size_t)(slash - text.data);
        if (len == 0 || len > AUTH_ACCESS_KEY_BYTES_MAX) {
            return false;
        }
        *parts[i] = slice_of(text.data, len);
        text = slice_skip(text, len + 1);
    }
    bool is_day = claim->day.len == 8;
    for (size_t i = 0; i < claim->day.len; i++) {
        is_day = is_day && claim->day.data[i] >= '0' && claim->day.data[i] <= '9';
    }
    return is_day;
}

/* Lower case, strictly ascending, no empty name. */
static bool claim_signed_names(struct slice text)
{
    struct slice previous = SLICE_EMPTY;
    for (struct slice rest = text; rest.len > 0;) {
        const uint8_t *end = memchr(rest.data, ';', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        struct slice name = slice_of(rest.data, len);
        if (len == 0 || slice_compare(previous, name) >= 0 || (end != NULL && len + 1 == rest.len)) {
            return false;
        }
        for (size_t i = 0; i < len; i++) {
            if (name.data[i] <= ' ' || name.data[i] >= 0x7f || (name.data[i] >= 'A' && name.data[i] <= 'Z')) {
                return false;
            }
        }
        previous = name;
        rest = slice_skip(rest, len + 1);
    }
    return text.len > 0;
}

static bool claim_signature(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return text.len == AUTH_SIGNATURE_BYTES;
}

static enum s3_error claim_malformed(struct s3_error_info *err, const char *message)
{
    return s3_fail(err, S3_ERROR_AUTHORIZATION_HEADER_MALFORMED, message);
}

/* "Credential=..., SignedHeaders=..., Signature=...": any order, each exactly once. */
static bool claim_split(struct slice text, struct slice *credential, struct slice *names, struct slice *signature)
{
    static const char *const keys[] = { "Credential=", "SignedHeaders=", "Signature=" };
    struct slice *const values[] = { credential, names, signature };
    unsigned seen = 0;
    for (struct slice rest = s3_trim(text); rest.len > 0;) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t len = comma == NULL ? rest.len : (size_t)(comma - rest.data);
        struct slice piece = s3_trim(slice_of(rest.data, len));
        unsigned which = 3;
        rest = slice_skip(rest, len + 1);
        for (unsigned i = 0; i < 3; i++) {
            if (slice_starts(piece, slice_str(keys[i])) && (seen & 1u << i) == 0) {
                which = i;
            }
        }
        if (which == 3) {
            return false;
        }
        seen |= 1u << which;
        *values[which] = slice_skip(piece, strlen(keys[which]));
    }
    return seen == 7;
}

static bool claim_date(const struct s3_request *request, struct auth_claim *claim)
{
    struct slice text;
    if (s3_header_get(request, "x-amz-date", &text)) {
        text = s3_trim(text);
        if (!s3_time_parse_basic(text, &claim->date_ms)) {
            return false;
        }
    } else if (s3_header_get(request, "date", &text)) {
        text = s3_trim(text);
        if (!s3_time_parse_http(text, &claim->date_ms) && !s3_time_parse_basic(text, &claim->date_ms)) {
            return false;
        }
    } else {
        return false;
    }
    s3_time_basic(claim->date_ms, claim->date);
    return true;
}

enum s3_error auth_claim_header(const struct s3_request *request, struct slice authorization, struct auth_claim *ret,
                                struct s3_error_info *err)
{
    struct auth_claim claim = { .form = AUTH_FORM_HEADER };
    struct slice credential = SLICE_EMPTY;
    struct slice fields = slice_skip(authorization, strlen("AWS4-HMAC-SHA256"));
    if (!claim_split(fields, &credential, &claim.signed_names, &claim.signature)) {
        return claim_malformed(err, NULL);
    }
    if (!claim_credential(credential, &claim)) {
        return claim_malformed(err, "The authorization header is malformed; the Credential is mal-formed; expecting "
                                    "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
    }
    if (!claim_signed_names(claim.signed_names) || !claim_signature(claim.signature)) {
        return claim_malformed(err, NULL);
    }
    if (!slice_equal_str(claim.service, "s3") || !slice_equal_str(claim.terminator, "aws4_request")) {
        return claim_malformed(err, "The authorization header is malformed; the scope must end in s3/aws4_request.");
    }
    if (!claim_date(request, &claim)) {
        return s3_fail(err, S3_ERROR_ACCESS_DENIED, "AWS authentication requires a valid Date or x-amz-date header");
    }
    if (memcmp(claim.date, claim.day.data, 8) != 0) {
        return claim_malformed(err, "The authorization header is malformed; the date of the credential differs from "
                                    "the date of the request.");
    }
    if (!s3_header_get(request, "x-amz-content-sha256", &claim.payload)) {
        return s3_fail(err, S3_ERROR_INVALID_REQUEST, "Missing required header for this request: x-amz-content-sha256");
    }
    claim.payload = s3_trim(claim.payload);
    *ret = claim;
    return S3_ERROR_NONE;
}

static enum s3_error claim_query_error(struct s3_error_info *err, const char *message)
{
    return s3_fail(err, S3_ERROR_AUTHORIZATION_QUERY_PARAMETERS, message);
}

static bool claim_expires(struct slice text, uint32_t *ret_seconds)
{
    uint32_t seconds = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 6) {
            return false;
        }
        seconds = seconds * 10 + (uint32_t)(text.data[i] - '0');
    }
    *ret_seconds = seconds;
    return seconds >= 1 && seconds <= AUTH_PRESIGN_SECONDS_MAX;
}

static struct slice claim_param(const struct s3_request *request, const char *name)
{
    const struct s3_param *param = s3_param_get(request, name);
    return param == NULL ? SLICE_EMPTY : param->value;
}

/* UNSIGNED-PAYLOAD unless a signed header or the query says otherwise. */
static struct slice claim_query_payload(const struct s3_request *request)
{
    struct slice value;
    return s3_value_get(request, "x-amz-content-sha256", &value) ? value : slice_str("UNSIGNED-PAYLOAD");
}

enum s3_error auth_claim_query(const struct s3_request *request, struct auth_claim *ret, struct s3_error_info *err)
{
    static const char *const names[] = { "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                                         "X-Amz-SignedHeaders", "X-Amz-Signature" };
    struct auth_claim claim = { .form = AUTH_FORM_PRESIGNED };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (s3_param_count(request, names[i]) != 1) {
            return claim_query_error(err, "Query-string authentication version 4 requires the X-Amz-Algorithm, "
                                          "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
                                          "X-Amz-Expires parameters, each once.");
        }
    }
    if (!claim_credential(claim_param(request, "X-Amz-Credential"), &claim) ||
        !slice_equal_str(claim.service, "s3") || !slice_equal_str(claim.terminator, "aws4_request")) {
        return claim_query_error(err, "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; "
                                      "expecting \"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\".");
    }
    claim.signed_names = claim_param(request, "X-Amz-SignedHeaders");
    claim.signature = claim_param(request, "X-Amz-Signature");
    if (!claim_signed_names(claim.signed_names) || !claim_signature(claim.signature)) {
        return claim_query_error(err, "X-Amz-SignedHeaders or X-Amz-Signature is not valid");
    }
    if (!s3_time_parse_basic(claim_param(request, "X-Amz-Date"), &claim.date_ms)) {
        return claim_query_error(err, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
    }
    s3_time_basic(claim.date_ms, claim.date);
    if (memcmp(claim.date, claim.day.data, 8) != 0) {
        return claim_query_error(err, "The date of the X-Amz-Credential parameter differs from X-Amz-Date");
    }
    if (!claim_expires(claim_param(request, "X-Amz-Expires"), &claim.expires_seconds)) {
        return claim_query_error(err, "X-Amz-Expires must be between 1 and 604800 seconds");
    }
    claim.payload = claim_query_payload(request);
    *ret = claim;
    return S3_ERROR_NONE;
}
