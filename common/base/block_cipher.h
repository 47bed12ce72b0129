/*
 * block_cipher - AES-128 on single blocks (OpenSSL), for names that must be opaque and reversible.
 *
 * One block under one key is a permutation: it hides what a public id holds and makes ids hard to
 * guess; it authenticates nothing by itself. Never for more than one block of data.
 * Thread: a cipher is immutable after creation; any thread may use it.
 */
#ifndef COMMON_BASE_BLOCK_CIPHER_H
#define COMMON_BASE_BLOCK_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_CIPHER_BYTES 16

struct block_cipher;

/* Gives (block_cipher_destroy). The key is copied. */
struct block_cipher *block_cipher_create(const uint8_t key[BLOCK_CIPHER_BYTES]);
void block_cipher_destroy(struct block_cipher *cipher); /* NULL is fine; wipes the key */

void block_cipher_encrypt(const struct block_cipher *cipher, const uint8_t in[BLOCK_CIPHER_BYTES],
                          uint8_t ret_out[BLOCK_CIPHER_BYTES]);
void block_cipher_decrypt(const struct block_cipher *cipher, const uint8_t in[BLOCK_CIPHER_BYTES],
                          uint8_t ret_out[BLOCK_CIPHER_BYTES]);

#endif
