#include "common/base/base64.h"

static const char base64_standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t base64_encode_with(const char *alphabet, bool pad, const uint8_t *bytes, size_t len, char *text)
{
    char *at = text;
    size_t i = 0;
    for (; i + 3 <= len; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        *at++ = alphabet[v >> 18];
        *at++ = alphabet[v >> 12 & 63];
        *at++ = alphabet[v >> 6 & 63];
        *at++ = alphabet[v & 63];
    }
    size_t rest = len - i;
    if (rest > 0) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (rest == 2 ? (uint32_t)bytes[i + 1] << 8 : 0);
        *at++ = alphabet[v >> 18];
        *at++ = alphabet[v >> 12 & 63];
        if (rest == 2) {
            *at++ = alphabet[v >> 6 & 63];
        }
        for (size_t missing = rest; pad && missing < 3; missing++) {
            *at++ = '=';
        }
    }
    *at = '\0';
    return (size_t)(at - text);
}

static int base64_digit(char c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (url ? '-' : '+')) {
        return 62;
    }
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* text without padding. */
static bool base64_decode_with(bool url, const char *text, size_t len, uint8_t *bytes, size_t *ret_len)
{
    if (len % 4 == 1) {
        return false;
    }
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t written = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i], url);
        if (digit < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            bytes[written++] = (uint8_t)(bits >> bit_count);
            bits &= (1u << bit_count) - 1;
        }
    }
    *ret_len = written;
    return bits == 0;
}

size_t base64_encode(const uint8_t *bytes, size_t len, char *text)
{
    return base64_encode_with(base64_standard, true, bytes, len, text);
}

bool base64_decode(const char *text, size_t text_len, uint8_t *ret_bytes, size_t *ret_len)
{
    if (text_len % 4 != 0) {
        return false;
    }
    size_t len = text_len;
    for (int padding = 0; padding < 2 && len > 0 && text[len - 1] == '='; padding++) {
        len--;
    }
    return base64_decode_with(false, text, len, ret_bytes, ret_len);
}

size_t base64url_encode(const uint8_t *bytes, size_t len, char *text)
{
    return base64_encode_with(base64_url, false, bytes, len, text);
}

bool base64url_decode(const char *text, size_t text_len, uint8_t *ret_bytes, size_t *ret_len)
{
    return base64_decode_with(true, text, text_len, ret_bytes, ret_len);
}
