#include "gateway/auth/auth_signer.h"

#include "common/base/mem.h"
#include "gateway/auth/auth_canonical.h"
#include "gateway/auth/auth_sigv4.h"
#include "gateway/s3/s3_time.h"
#include "gateway/s3/s3_uri.h"

#include <stdio.h>

struct signer_run {
    const struct auth_signer *signer;
    struct s3_request request;
    char date[S3_TIME_BASIC_BYTES];
    char scope[AUTH_SCOPE_BYTES];
};

static enum errc signer_start(struct signer_run *run, const struct auth_signer *signer, struct arena *arena,
                              const char *method, struct slice target, struct slice host, uint64_t wall_ms)
{
    const uint8_t *question = target.len > 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t path_len = question == NULL ? target.len : (size_t)(question - target.data);
    *run = (struct signer_run){ .signer = signer };
    run->request = (struct s3_request){ .arena = arena, .method = slice_str(method), .target = target, .host = host };
    s3_time_basic(wall_ms, run->date);
    int len = snprintf(run->scope, sizeof(run->scope), "%.8s/%.*s/s3/aws4_request", run->date,
                       (int)signer->region.len, (const char *)signer->region.data);
    if (len < 0 || (size_t)len >= sizeof(run->scope) || signer->secret.len > AUTH_SECRET_BYTES_MAX) {
        return ERRC_LIMIT;
    }
    enum errc rc = s3_uri_decode_arena(arena, slice_of(target.data, path_len), false, &run->request.path);
    if (rc == ERRC_OK) {
        rc = s3_query_parse(arena, slice_skip(target, path_len + 1), &run->request.params, &run->request.param_count);
    }
    return rc;
}

static void signer_sign(const struct signer_run *run, struct slice names, struct slice payload,
                        char signature[AUTH_SIGNATURE_BYTES + 1])
{
    uint8_t key[SHA256_BYTES];
    uint8_t hash[SHA256_BYTES];
    struct enc canonical = ENC_INIT;
    struct enc to_sign = ENC_INIT;
    (void)auth_canonical_request(&canonical, &run->request, names, payload, true); /* the names are ours */
    sha256_once(canonical.data, canonical.len, hash);
    auth_string_to_sign(&to_sign, run->date, run->scope, hash);
    auth_signing_key(run->signer->secret, slice_of(run->date, 8), run->signer->region, slice_str("s3"), key);
    auth_signature(key, enc_slice(&to_sign), signature);
    mem_wipe(key, sizeof(key));
    enc_free(&canonical);
    enc_free(&to_sign);
}

/* Lower-case names of the headers and host, sorted, unique, joined by ';'. Empty: the arena is full. */
static struct slice signer_names(struct arena *arena, const struct s3_header *headers, size_t count)
{
    struct slice *names = arena_alloc(arena, (count + 1) * sizeof(*names));
    size_t total = 5;
    size_t used = 0;
    if (names == NULL) {
        return SLICE_EMPTY;
    }
    for (size_t i = 0; i <= count; i++) {
        struct slice name = i == count ? slice_str("host") : headers[i].name;
        char *lower = arena_strndup(arena, name.data, name.len);
        if (lower == NULL) {
            return SLICE_EMPTY;
        }
        for (size_t k = 0; k < name.len; k++) {
            lower[k] = lower[k] >= 'A' && lower[k] <= 'Z' ? (char)(lower[k] + 32) : lower[k];
        }
        name = slice_of(lower, name.len);
        size_t at = used;
        while (at > 0 && slice_compare(name, names[at - 1]) < 0) {
            at--;
        }
        if (at > 0 && slice_equal(name, names[at - 1])) {
            continue;
        }
        memmove(names + at + 1, names + at, (used - at) * sizeof(*names));
        names[at] = name;
        used++;
        total += name.len + 1;
    }
    uint8_t *joined = arena_alloc(arena, total);
    size_t len = 0;
    for (size_t i = 0; joined != NULL && i < used; i++) {
        memcpy(joined + len, names[i].data, names[i].len);
        len += names[i].len;
        joined[len++] = ';';
    }
    return joined == NULL ? SLICE_EMPTY : slice_of(joined, len - 1);
}

enum errc auth_sign(const struct auth_signer *signer, struct arena *arena, const char *method, struct slice target,
                    struct slice host, const struct s3_header *headers, size_t header_count, struct slice payload,
                    uint64_t wall_ms, struct auth_signed *ret)
{
    struct signer_run run;
    enum errc rc = signer_start(&run, signer, arena, method, target, host, wall_ms);
    struct s3_header *all = arena_alloc(arena, (header_count + 2) * sizeof(*all));
    struct slice date = arena_copy(arena, slice_of(run.date, AUTH_DATE_BYTES));
    if (rc != ERRC_OK || all == NULL || date.data == NULL) {
        return rc != ERRC_OK ? rc : ERRC_LIMIT;
    }
    if (header_count > 0) {
        memcpy(all, headers, header_count * sizeof(*all));
    }
    all[header_count] = (struct s3_header){ slice_str("x-amz-date"), date };
    all[header_count + 1] = (struct s3_header){ slice_str("x-amz-content-sha256"), payload };
    run.request.headers = all;
    run.request.header_count = header_count + 2;
    struct slice names = signer_names(arena, all, header_count + 2);
    if (names.len == 0) {
        return ERRC_LIMIT;
    }
    char signature[AUTH_SIGNATURE_BYTES + 1];
    signer_sign(&run, names, payload, signature);
    const char *text = arena_format(arena, "AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=%.*s, Signature=%s",
                                    (int)signer->access_key.len, (const char *)signer->access_key.data, run.scope,
                                    (int)names.len, (const char *)names.data, signature);
    if (text == NULL) {
        return ERRC_LIMIT;
    }
    *ret = (struct auth_signed){ slice_str(text), date, payload };
    return ERRC_OK;
}

enum errc auth_presign(const struct auth_signer *signer, struct arena *arena, const char *method, struct slice target,
                       struct slice host, uint32_t seconds, uint64_t wall_ms, struct slice *ret_target)
{
    struct signer_run run;
    struct enc url = ENC_INIT;
    char date[S3_TIME_BASIC_BYTES];
    s3_time_basic(wall_ms, date);
    const char *credential = arena_format(arena, "%.*s/%.8s/%.*s/s3/aws4_request", (int)signer->access_key.len,
                                          (const char *)signer->access_key.data, date, (int)signer->region.len,
                                          (const char *)signer->region.data);
    const char *tail = arena_format(arena, "&X-Amz-Date=%s&X-Amz-Expires=%u&X-Amz-SignedHeaders=host", date, seconds);
    if (credential == NULL || tail == NULL) {
        return ERRC_LIMIT;
    }
    bool has_query = target.len > 0 && memchr(target.data, '?', target.len) != NULL;
    enc_raw(&url, target.data, target.len);
    enc_raw(&url, has_query ? "&" : "?", 1);
    enc_raw(&url, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=", 50);
    s3_uri_encode(&url, slice_str(credential), false);
    enc_raw(&url, tail, strlen(tail));
    struct slice plain = arena_copy(arena, enc_slice(&url));
    enc_free(&url);
    if (plain.data == NULL) {
        return ERRC_LIMIT;
    }
    enum errc rc = signer_start(&run, signer, arena, method, plain, host, wall_ms);
    if (rc != ERRC_OK) {
        return rc;
    }
    char signature[AUTH_SIGNATURE_BYTES + 1];
    signer_sign(&run, slice_str("host"), slice_str("UNSIGNED-PAYLOAD"), signature);
    const char *text = arena_format(arena, "%.*s&X-Amz-Signature=%s", (int)plain.len, (const char *)plain.data,
                                    signature);
    if (text == NULL) {
        return ERRC_LIMIT;
    }
    *ret_target = slice_str(text);
    return ERRC_OK;
}
