/* hex - bytes to and from hexadecimal text (RFC 4648 section 8, lower case out). */
#ifndef COMMON_BASE_HEX_H
#define COMMON_BASE_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 x len lower-case digits and a terminator into text. */
void hex_encode(const uint8_t *bytes, size_t len, char *text);
/* text_len must be even; writes text_len / 2 bytes. False on any other character. */
bool hex_decode(const char *text, size_t text_len, uint8_t *ret_bytes);
/* Value of one digit, or -1. */
int hex_digit(char c);

#endif
