#include "common/base/digest.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <openssl/evp.h>

#include <stdatomic.h>

/* Contexts that wait for their next use; more than this many at once are simply freed. */
#define DIGEST_POOL_SLOTS 64

static _Atomic(EVP_MD_CTX *) digest_pool[DIGEST_POOL_SLOTS];
static _Atomic(EVP_MD *) digest_algorithms[DIGEST_KIND_COUNT];

static const struct {
    const char *name;
    size_t bytes;
} digest_kinds[DIGEST_KIND_COUNT] = {
    [DIGEST_MD5] = { "MD5", MD5_BYTES },
    [DIGEST_SHA1] = { "SHA1", SHA1_BYTES },
    [DIGEST_SHA256] = { "SHA256", SHA256_BYTES },
    [DIGEST_SHA512] = { "SHA512", SHA512_BYTES },
};

size_t digest_bytes(enum digest_kind kind)
{
    ASSERT(kind < DIGEST_KIND_COUNT);
    return digest_kinds[kind].bytes;
}

/* An explicit fetch, once: the implicit one of EVP_sha256() costs a locked look-up each time. */
static const EVP_MD *digest_algorithm(enum digest_kind kind)
{
    EVP_MD *found = atomic_load_explicit(&digest_algorithms[kind], memory_order_acquire);
    if (found != NULL) {
        return found;
    }
    EVP_MD *fetched = EVP_MD_fetch(NULL, digest_kinds[kind].name, NULL);
    ASSERT(fetched != NULL);
    if (!atomic_compare_exchange_strong(&digest_algorithms[kind], &found, fetched)) {
        EVP_MD_free(fetched); /* another thread was first */
        return found;
    }
    return fetched;
}

static EVP_MD_CTX *digest_take(void)
{
    for (size_t i = 0; i < DIGEST_POOL_SLOTS; i++) {
        if (atomic_load_explicit(&digest_pool[i], memory_order_relaxed) != NULL) {
            EVP_MD_CTX *context = atomic_exchange(&digest_pool[i], NULL);
            if (context != NULL) {
                return context;
            }
        }
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ASSERT(context != NULL);
    return context;
}

static void digest_give(EVP_MD_CTX *context)
{
    for (size_t i = 0; i < DIGEST_POOL_SLOTS; i++) {
        EVP_MD_CTX *empty = NULL;
        if (atomic_load_explicit(&digest_pool[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong(&digest_pool[i], &empty, context)) {
            return;
        }
    }
    EVP_MD_CTX_free(context);
}

void digest_reset(struct digest *digest)
{
    ASSERT(EVP_DigestInit_ex2(digest->context, digest_algorithm(digest->kind), NULL) == 1);
}

void digest_init(struct digest *digest, enum digest_kind kind)
{
    ASSERT(kind < DIGEST_KIND_COUNT);
    digest->context = digest_take();
    digest->kind = kind;
    digest_reset(digest);
}

void digest_update(struct digest *digest, const void *data, size_t len)
{
    if (len > 0) {
        ASSERT(EVP_DigestUpdate(digest->context, data, len) == 1);
    }
}

void digest_final(struct digest *digest, uint8_t *ret_bytes)
{
    unsigned int len = 0;
    ASSERT(EVP_DigestFinal_ex(digest->context, ret_bytes, &len) == 1);
    ASSERT(len == digest_bytes(digest->kind));
    digest_reset(digest);
}

void digest_done(struct digest *digest)
{
    if (digest->context != NULL) {
        digest_reset(digest); /* no secret stays behind in the pool */
        digest_give(digest->context);
        digest->context = NULL;
    }
}

void digest_once(enum digest_kind kind, const void *data, size_t len, uint8_t *ret_bytes)
{
    struct digest digest;
    digest_init(&digest, kind);
    digest_update(&digest, data, len);
    unsigned int written = 0;
    ASSERT(EVP_DigestFinal_ex(digest.context, ret_bytes, &written) == 1);
    digest_give(digest.context);
}

void sha256_once(const void *data, size_t len, uint8_t ret_bytes[SHA256_BYTES])
{
    digest_once(DIGEST_SHA256, data, len, ret_bytes);
}

void hmac_sha256(struct slice key, struct slice message, uint8_t ret_bytes[SHA256_BYTES])
{
    uint8_t pad[64] = { 0 }; /* one block of SHA-256 */
    if (key.len > sizeof(pad)) {
        sha256_once(key.data, key.len, pad);
    } else if (key.len > 0) {
        memcpy(pad, key.data, key.len);
    }
    struct digest digest;
    digest_init(&digest, DIGEST_SHA256);
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36;
    }
    digest_update(&digest, pad, sizeof(pad));
    digest_update(&digest, message.data, message.len);
    digest_final(&digest, ret_bytes);
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    digest_update(&digest, pad, sizeof(pad));
    digest_update(&digest, ret_bytes, SHA256_BYTES);
    digest_final(&digest, ret_bytes);
    digest_done(&digest);
    mem_wipe(pad, sizeof(pad));
}
