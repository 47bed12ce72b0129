/*
 * base64 - RFC 4648 section 4 (padded) and section 5 (url-safe, unpadded).
 *
 * Decoding is strict: no white space, right padding, and the unused low bits of the last digit are
 * zero, so that every text has one value and every value one text.
 */
#ifndef COMMON_BASE_BASE64_H
#define COMMON_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters of len bytes, without the terminator. */
static inline size_t base64_len(size_t len)
{
    return (len + 2) / 3 * 4;
}
/* Room that decoding text_len characters needs at most. */
static inline size_t base64_decoded_max(size_t text_len)
{
    return text_len / 4 * 3 + 3;
}

/* Writes base64_len(len) characters and a terminator; returns that length. */
size_t base64_encode(const uint8_t *bytes, size_t len, char *text);
/* False when text is not exactly one encoding; ret_bytes holds base64_decoded_max(text_len). */
bool base64_decode(const char *text, size_t text_len, uint8_t *ret_bytes, size_t *ret_len);

/* Alphabet with - and _, no padding. At most base64_len(len) characters and a terminator. */
size_t base64url_encode(const uint8_t *bytes, size_t len, char *text);
bool base64url_decode(const char *text, size_t text_len, uint8_t *ret_bytes, size_t *ret_len);

#endif
