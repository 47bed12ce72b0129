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

/* A context for each block: they may not be shared between threads, one kept by a thread would outlive it, and
 * an allocation is cheap next to fetching the algorithm. */
static void block_run(const struct block_cipher *cipher, int encrypt, const uint8_t *in, uint8_t *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len = 0;
    ASSERT(context != NULL);
    int ok = EVP_CipherInit_ex(context, EVP_aes_128_ecb(), NULL, cipher->key, NULL, encrypt);
    ASSERT(ok == 1);
    ok = EVP_CIPHER_CTX_set_padding(context, 0);
    ASSERT(ok == 1);
    ok = EVP_CipherUpdate(context, out, &len, in, BLOCK_CIPHER_BYTES);
    ASSERT(ok == 1);
    ASSERT(len == BLOCK_CIPHER_BYTES);
    EVP_CIPHER_CTX_free(context);
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
