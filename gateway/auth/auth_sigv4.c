#include "gateway/auth/auth_sigv4.h"

#include "common/base/assert.h"
#include "common/base/hex.h"
#include "common/base/mem.h"

#include <openssl/crypto.h>

#define CACHE_NAME_BYTES (AUTH_ACCESS_KEY_BYTES_MAX + AUTH_SCOPE_BYTES)

struct cache_slot {
    char name[CACHE_NAME_BYTES]; /* access key, day, region, service, joined by '/' */
    size_t name_len;             /* 0: empty */
    uint8_t secret_sha256[SHA256_BYTES];
    uint8_t key[SHA256_BYTES];
};

struct auth_key_cache {
    struct cache_slot slots[AUTH_CACHE_SLOTS];
};

void auth_signing_key(struct slice secret, struct slice day, struct slice region, struct slice service,
                      uint8_t ret_key[SHA256_BYTES])
{
    uint8_t start[4 + AUTH_SECRET_BYTES_MAX];
    uint8_t a[SHA256_BYTES];
    uint8_t b[SHA256_BYTES];
    ASSERT(secret.len <= AUTH_SECRET_BYTES_MAX);
    memcpy(start, "AWS4", 4);
    if (secret.len > 0) {
        memcpy(start + 4, secret.data, secret.len);
    }
    hmac_sha256(slice_of(start, 4 + secret.len), day, a);
    hmac_sha256(slice_of(a, sizeof(a)), region, b);
    hmac_sha256(slice_of(b, sizeof(b)), service, a);
    hmac_sha256(slice_of(a, sizeof(a)), slice_str("aws4_request"), ret_key);
    mem_wipe(start, sizeof(start));
    mem_wipe(a, sizeof(a));
    mem_wipe(b, sizeof(b));
}

void auth_signature(const uint8_t key[SHA256_BYTES], struct slice text, char ret_hex[AUTH_SIGNATURE_BYTES + 1])
{
    uint8_t mac[SHA256_BYTES];
    hmac_sha256(slice_of(key, SHA256_BYTES), text, mac);
    hex_encode(mac, sizeof(mac), ret_hex);
}

bool auth_signature_equal(struct slice claimed, const char computed[AUTH_SIGNATURE_BYTES + 1])
{
    return claimed.len == AUTH_SIGNATURE_BYTES && CRYPTO_memcmp(claimed.data, computed, AUTH_SIGNATURE_BYTES) == 0;
}

struct auth_key_cache *auth_key_cache_create(void)
{
    return mem_zalloc(sizeof(struct auth_key_cache));
}

void auth_key_cache_destroy(struct auth_key_cache *cache)
{
    if (cache != NULL) {
        mem_wipe(cache, sizeof(*cache));
        mem_free(cache);
    }
}

/* False when the name is too long to be kept. */
static bool cache_name(struct cache_slot *slot, const struct slice *parts, size_t count)
{
    slot->name_len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len + 1 > sizeof(slot->name) - slot->name_len) {
            return false;
        }
        if (parts[i].len > 0) {
            memcpy(slot->name + slot->name_len, parts[i].data, parts[i].len);
        }
        slot->name_len += parts[i].len;
        slot->name[slot->name_len++] = '/';
    }
    return true;
}

static size_t cache_index(const struct cache_slot *slot)
{
    uint32_t hash = 2166136261u; /* FNV-1a: the names are no secret, and a collision costs four HMACs */
    for (size_t i = 0; i < slot->name_len; i++) {
        hash = (hash ^ (uint8_t)slot->name[i]) * 16777619u;
    }
    return hash % AUTH_CACHE_SLOTS;
}

void auth_key_cache_get(struct auth_key_cache *cache, struct slice access_key, struct slice secret,
                        struct slice day, struct slice region, struct slice service, uint8_t ret_key[SHA256_BYTES])
{
    const struct slice parts[] = { access_key, day, region, service };
    struct cache_slot wanted = { .name_len = 0 };
    if (cache == NULL || !cache_name(&wanted, parts, 4)) {
        auth_signing_key(secret, day, region, service, ret_key);
        return;
    }
    struct cache_slot *slot = &cache->slots[cache_index(&wanted)];
    sha256_once(secret.data, secret.len, wanted.secret_sha256);
    bool is_hit = slice_equal(slice_of(slot->name, slot->name_len), slice_of(wanted.name, wanted.name_len)) &&
                  CRYPTO_memcmp(slot->secret_sha256, wanted.secret_sha256, SHA256_BYTES) == 0;
    if (!is_hit) {
        auth_signing_key(secret, day, region, service, wanted.key);
        *slot = wanted;
    }
    memcpy(ret_key, slot->key, SHA256_BYTES);
    mem_wipe(&wanted, sizeof(wanted));
}
