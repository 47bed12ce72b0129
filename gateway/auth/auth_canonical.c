#include "gateway/auth/auth_canonical.h"

#include "common/base/arena.h"
#include "common/base/hex.h"
#include "gateway/s3/s3_uri.h"

#include <stdlib.h>

struct canonical_pair {
    size_t name_at, name_len;   /* places in one scratch encoder: it moves while it grows */
    size_t value_at, value_len;
    const struct enc *scratch;
};

static int canonical_order(const void *a, const void *b)
{
    const struct canonical_pair *x = a;
    const struct canonical_pair *y = b;
    const uint8_t *data = x->scratch->data;
    int order = slice_compare(slice_of(data + x->name_at, x->name_len), slice_of(data + y->name_at, y->name_len));
    return order != 0 ? order
                      : slice_compare(slice_of(data + x->value_at, x->value_len),
                                      slice_of(data + y->value_at, y->value_len));
}

static void canonical_query(struct enc *out, const struct s3_request *request, bool skip_signature)
{
    struct canonical_pair pairs[S3_PARAMS_MAX];
    struct enc scratch = ENC_INIT;
    size_t count = 0;
    enc_u8(&scratch, 0); /* so that there is a block even when every name and value is empty */
    for (size_t i = 0; i < request->param_count && i < S3_PARAMS_MAX; i++) {
        const struct s3_param *param = &request->params[i];
        if (skip_signature && slice_equal_str(param->name, "X-Amz-Signature")) {
            continue;
        }
        struct canonical_pair *pair = &pairs[count++];
        pair->scratch = &scratch;
        pair->name_at = scratch.len;
        s3_uri_encode(&scratch, param->name, false);
        pair->name_len = scratch.len - pair->name_at;
        pair->value_at = scratch.len;
        s3_uri_encode(&scratch, param->value, false);
        pair->value_len = scratch.len - pair->value_at;
    }
    if (count > 1) {
        qsort(pairs, count, sizeof(pairs[0]), canonical_order);
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            enc_u8(out, '&');
        }
        enc_raw(out, scratch.data + pairs[i].name_at, pairs[i].name_len);
        enc_u8(out, '=');
        enc_raw(out, scratch.data + pairs[i].value_at, pairs[i].value_len);
    }
    enc_free(&scratch);
}

/* Trimmed, inner runs of spaces reduced to one. */
static void canonical_value(struct enc *out, struct slice value)
{
    bool after_space = false;
    value = s3_trim(value);
    for (size_t i = 0; i < value.len; i++) {
        bool is_space = value.data[i] == ' ';
        if (!is_space || !after_space) {
            enc_u8(out, value.data[i]);
        }
        after_space = is_space;
    }
}

/* All headers of the name, joined by commas in arrival order. False: there is none. */
static bool canonical_header(struct enc *out, const struct s3_request *request, struct slice name)
{
    bool found = false;
    enc_raw(out, name.data, name.len);
    enc_u8(out, ':');
    if (slice_equal_str(name, "host")) {
        canonical_value(out, request->host);
        found = request->host.len > 0;
    } else {
        char text[256];
        if (name.len >= sizeof(text)) {
            return false;
        }
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        for (size_t i = 0; i < request->header_count; i++) {
            if (s3_name_equal(request->headers[i].name, text)) {
                if (found) {
                    enc_u8(out, ',');
                }
                canonical_value(out, request->headers[i].value);
                found = true;
            }
        }
    }
    enc_u8(out, '\n');
    return found;
}

bool auth_canonical_request(struct enc *out, const struct s3_request *request, struct slice signed_names,
                            struct slice payload, bool skip_signature)
{
    bool all_found = true;
    enc_raw(out, request->method.data, request->method.len);
    enc_u8(out, '\n');
    s3_uri_encode(out, request->path, true);
    enc_u8(out, '\n');
    canonical_query(out, request, skip_signature);
    enc_u8(out, '\n');
    for (struct slice rest = signed_names; rest.len > 0;) {
        const uint8_t *end = memchr(rest.data, ';', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.data);
        all_found = canonical_header(out, request, slice_of(rest.data, len)) && all_found;
        rest = slice_skip(rest, len + 1);
    }
    enc_u8(out, '\n');
    enc_raw(out, signed_names.data, signed_names.len);
    enc_u8(out, '\n');
    enc_raw(out, payload.data, payload.len);
    return all_found;
}

void auth_string_to_sign(struct enc *out, const char *date, const char *scope,
                         const uint8_t canonical_sha256[SHA256_BYTES])
{
    char hex[2 * SHA256_BYTES + 1];
    hex_encode(canonical_sha256, SHA256_BYTES, hex);
    enc_raw(out, "AWS4-HMAC-SHA256\n", 17);
    enc_raw(out, date, strlen(date));
    enc_u8(out, '\n');
    enc_raw(out, scope, strlen(scope));
    enc_u8(out, '\n');
    enc_raw(out, hex, strlen(hex));
}
