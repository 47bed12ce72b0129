#include "gateway/s3/s3_listing.h"

#include "common/base/assert.h"
#include "common/base/base64.h"
#include "common/base/digest.h"
#include "common/base/mem.h"
#include "gateway/s3/s3_name.h"

#define TOKEN_MAC_BYTES 16
#define TOKEN_VERSION 1
#define TOKEN_BYTES_MAX (3 + S3_KEY_BYTES_MAX + 1024 + TOKEN_MAC_BYTES)

enum s3_error s3_count_param_read(const struct s3_request *request, const char *name, uint32_t *ret_count,
                                  struct s3_error_info *err)
{
    const struct s3_param *param = s3_param_get(request, name);
    uint64_t value = 0;
    if (param == NULL || param->value.len == 0) {
        *ret_count = S3_LIST_MAX;
        return S3_ERROR_NONE;
    }
    for (size_t i = 0; i < param->value.len; i++) {
        uint8_t c = param->value.data[i];
        if (c < '0' || c > '9') {
            return s3_fail_argument(err, "Argument is not an integer within its range", name, param->value);
        }
        value = value > S3_LIST_MAX ? value : value * 10 + (uint64_t)(c - '0');
    }
    *ret_count = value > S3_LIST_MAX ? S3_LIST_MAX : (uint32_t)value;
    return S3_ERROR_NONE;
}

/* An absent parameter gives an empty value. */
static bool listing_param(const struct s3_request *request, const char *name, struct slice *ret_value)
{
    const struct s3_param *param = s3_param_get(request, name);
    *ret_value = param == NULL ? SLICE_EMPTY : param->value;
    return param != NULL;
}

static enum s3_error listing_encoding(const struct s3_request *request, struct s3_list_params *params,
                                      struct s3_error_info *err)
{
    struct slice encoding;
    if (listing_param(request, "encoding-type", &encoding) && encoding.len > 0) {
        if (!slice_equal_str(encoding, "url")) {
            return s3_fail_argument(err, "Invalid Encoding Method specified in Request", "encoding-type",
                                    encoding);
        }
        params->url_encoding = true;
    }
    return S3_ERROR_NONE;
}

static enum s3_error listing_v2(const struct s3_request *request, struct s3_list_params *params,
                                struct s3_error_info *err)
{
    struct slice owner;
    params->has_start_after = listing_param(request, "start-after", &params->start_after);
    params->has_token = listing_param(request, "continuation-token", &params->token);
    params->fetch_owner = listing_param(request, "fetch-owner", &owner) && slice_equal_str(owner, "true");
    if (params->has_token && params->token.len == 0) {
        return s3_fail_argument(err, "The continuation token provided is incorrect", "continuation-token",
                                params->token);
    }
    return S3_ERROR_NONE;
}

static enum s3_error listing_markers(const struct s3_request *request, struct s3_list_params *params,
                                     struct s3_error_info *err)
{
    switch (request->operation) {
    case S3_OPERATION_LIST_OBJECTS_V2:
        return listing_v2(request, params, err);
    case S3_OPERATION_LIST_OBJECT_VERSIONS:
        params->has_marker = listing_param(request, "key-marker", &params->marker);
        params->has_id_marker = listing_param(request, "version-id-marker", &params->id_marker);
        if (params->has_id_marker && (params->marker.len == 0 || params->id_marker.len == 0)) {
            return s3_fail_argument(err, "A version-id marker cannot be specified without a key marker",
                                    "version-id-marker", params->id_marker);
        }
        return S3_ERROR_NONE;
    case S3_OPERATION_LIST_MULTIPART_UPLOADS:
        params->has_marker = listing_param(request, "key-marker", &params->marker);
        params->has_id_marker = listing_param(request, "upload-id-marker", &params->id_marker);
        return S3_ERROR_NONE;
    default:
        params->has_marker = listing_param(request, "marker", &params->marker);
        return S3_ERROR_NONE;
    }
}

/* Longer than a key, none of them can match or lie between keys. */
static enum s3_error listing_lengths(const struct s3_list_params *params, struct s3_error_info *err)
{
    const struct {
        const char *name;
        struct slice value;
    } texts[] = { { "prefix", params->prefix },
                  { "delimiter", params->delimiter },
                  { "marker", params->marker },
                  { "start-after", params->start_after } };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].value.len > S3_KEY_BYTES_MAX) {
            return s3_fail_argument(err, "Longer than a key may be", texts[i].name, texts[i].value);
        }
    }
    return S3_ERROR_NONE;
}

enum s3_error s3_list_params_read(const struct s3_request *request, struct s3_list_params *ret,
                                  struct s3_error_info *err)
{
    struct s3_list_params params = { 0 };
    (void)listing_param(request, "prefix", &params.prefix); /* empty equals absent */
    (void)listing_param(request, "delimiter", &params.delimiter);
    params.has_delimiter = params.delimiter.len > 0;
    bool is_uploads = request->operation == S3_OPERATION_LIST_MULTIPART_UPLOADS;
    enum s3_error code = s3_count_param_read(request, is_uploads ? "max-uploads" : "max-keys", &params.max, err);
    if (code == S3_ERROR_NONE) {
        code = listing_encoding(request, &params, err);
    }
    if (code == S3_ERROR_NONE) {
        code = listing_markers(request, &params, err);
    }
    if (code == S3_ERROR_NONE) {
        code = listing_lengths(&params, err);
    }
    if (code == S3_ERROR_NONE) {
        *ret = params;
    }
    return code;
}

static void token_mac(const uint8_t key[S3_TOKEN_KEY_BYTES], struct slice scope, const uint8_t *body,
                      size_t len, uint8_t mac[SHA256_BYTES])
{
    uint8_t scoped[SHA256_BYTES];
    hmac_sha256(slice_of(key, S3_TOKEN_KEY_BYTES), scope, scoped);
    hmac_sha256(slice_of(scoped, sizeof(scoped)), slice_of(body, len), mac);
    mem_wipe(scoped, sizeof(scoped));
}

/* version u8, flags u8 (1: prefix), key length be16, key, id, MAC. */
struct slice s3_token_encode(struct arena *arena, const uint8_t key[S3_TOKEN_KEY_BYTES], struct slice scope,
                             const struct s3_position *position)
{
    size_t len = 4 + position->key.len + position->id.len;
    ASSERT(position->key.len <= UINT16_MAX);
    uint8_t *body = arena_alloc(arena, len + SHA256_BYTES);
    char *text = arena_alloc(arena, base64_len(len + TOKEN_MAC_BYTES) + 1);
    if (body == NULL || text == NULL) {
        return SLICE_EMPTY;
    }
    body[0] = TOKEN_VERSION;
    body[1] = position->is_prefix ? 1 : 0;
    body[2] = (uint8_t)(position->key.len >> 8);
    body[3] = (uint8_t)position->key.len;
    if (position->key.len > 0) {
        memcpy(body + 4, position->key.data, position->key.len);
    }
    if (position->id.len > 0) {
        memcpy(body + 4 + position->key.len, position->id.data, position->id.len);
    }
    token_mac(key, scope, body, len, body + len); /* truncated to TOKEN_MAC_BYTES */
    return slice_of(text, base64url_encode(body, len + TOKEN_MAC_BYTES, text));
}

bool s3_token_decode(struct arena *arena, const uint8_t key[S3_TOKEN_KEY_BYTES], struct slice scope,
                     struct slice token, struct s3_position *ret_position)
{
    size_t len = 0;
    if (token.len > base64_len(TOKEN_BYTES_MAX)) {
        return false;
    }
    uint8_t *body = arena_alloc(arena, base64_decoded_max(token.len));
    if (body == NULL || !base64url_decode((const char *)token.data, token.len, body, &len) ||
        len < 4 + TOKEN_MAC_BYTES) {
        return false;
    }
    uint8_t mac[SHA256_BYTES];
    uint8_t difference = 0; /* constant time: a token is a secret of a kind */
    len -= TOKEN_MAC_BYTES;
    token_mac(key, scope, body, len, mac);
    for (size_t i = 0; i < TOKEN_MAC_BYTES; i++) {
        difference |= (uint8_t)(mac[i] ^ body[len + i]);
    }
    size_t key_len = (size_t)body[2] << 8 | body[3];
    if (difference != 0 || body[0] != TOKEN_VERSION || body[1] > 1 || 4 + key_len > len) {
        return false;
    }
    *ret_position = (struct s3_position){ .key = slice_of(body + 4, key_len), .is_prefix = body[1] == 1,
                                          .id = slice_of(body + 4 + key_len, len - 4 - key_len) };
    return true;
}
