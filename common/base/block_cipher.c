#include "common/base/block_cipher.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <openssl/evp.h>
#include <string.h>

struct block_cipher {
    uint8_t key[BLOCK_CIPHER_BYTES];
};

struct block_cipher *block_cipher_create(const uint8_t key[BLOCK_CIPHER_BYTES])
{
    struct block_cipher *cipher = mem_alloc(sizeof(*cipher));
    memcpy(cipher->key, key, sizeof(cipher->key));
    return cipher;
}

void block_cipher_destroy(struct block_cipher *cipher)
{
    if (cipher == NULL) {
        return;
    }
    mem_wipe(cipher->key, sizeof(cipher->key));
    mem_free(cipher);
}

/* Each thread keeps one context (about 200 bytes), re-keyed for each block: key set-up is cheap
 * next to fetching the algorithm, and EVP contexts may not be shared between threads. */
static EVP_CIPHER_CTX *thread_context(void)
{
    static _Thread_local EVP_CIPHER_CTX *context;
    if (context == NULL) {
        context = EVP_CIPHER_CTX_new();
        ASSERT(context != NULL);
    }
    return context;
}

static void block_run(const struct block_cipher *cipher, int encrypt, const uint8_t *in, uint8_t *out)
{
    EVP_CIPHER_CTX *context = thread_context();
    int len = 0;
    int ok = EVP_CipherInit_ex(context, EVP_aes_128_ecb(), NULL, cipher->key, NULL, encrypt);
    ASSERT(ok == 1);
    ok = EVP_CIPHER_CTX_set_padding(context, 0);
    ASSERT(ok == 1);
    ok = EVP_CipherUpdate(context, out, &len, in, BLOCK_CIPHER_BYTES);
    ASSERT(ok == 1);
    ASSERT(len == BLOCK_CIPHER_BYTES);
}

void block_cipher_encrypt(const struct block_cipher *cipher, const uint8_t in[BLOCK_CIPHER_BYTES],
                          uint8_t ret_out[BLOCK_CIPHER_BYTES])
{
    block_run(cipher, 1, in, ret_out);
}

void block_cipher_decrypt(const struct block_cipher *cipher, const uint8_t in[BLOCK_CIPHER_BYTES],
                          uint8_t ret_out[BLOCK_CIPHER_BYTES])
{
    block_run(cipher, 0, in, ret_out);
}
