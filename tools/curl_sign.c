#include "tools/curl_sign.h"

#include "common/base/arena.h"
#include "common/base/env.h"
#include "common/base/hex.h"
#include "gateway/auth/auth_signer.h"

#include <string.h>

#define SIGN_ARENA_BYTES (64u << 10)

static struct curl_slist *header_add(struct curl_slist *list, struct arena *arena, const char *name, struct slice value)
{
    const char *line = arena_format(arena, "%s: %.*s", name, (int)value.len, (const char *)value.data);
    return line != NULL ? curl_slist_append(list, line) : list;
}

struct curl_slist *curl_sign(const struct curl_signer *signer, const char *method, const char *target,
                             const uint8_t body_sha256[SHA256_BYTES])
{
    const struct auth_signer keys = { slice_str(signer->access_key), slice_str(signer->secret_key), slice_str(signer->region) };
    const char *host = strstr(signer->url, "://") + 3;
    char hash[2 * SHA256_BYTES + 1];
    struct auth_signed values;
    struct curl_slist *list = NULL;
    struct arena arena;
    arena_init(&arena, SIGN_ARENA_BYTES);
    hex_encode(body_sha256, SHA256_BYTES, hash);
    if (auth_sign(&keys, &arena, method, slice_str(target), slice_str(host), NULL, 0, slice_str(hash), env_wall_ms(env_real()),
                  &values) == ERRC_OK) {
        list = header_add(list, &arena, "Authorization", values.authorization);
        list = header_add(list, &arena, "x-amz-date", values.date);
        list = header_add(list, &arena, "x-amz-content-sha256", values.payload);
    }
    arena_done(&arena);
    return list;
}
