/*
 * text_file - small files of "name=value" lines that end with a CRC32C of what stands before it; mode 0600.
 *
 * Replaced whole (env_replace.h). A name may be repeated. Lines that begin
 * with '#' are for people. Every file has a line format=N.
 */
#ifndef SERVER_TEXT_FILE_H
#define SERVER_TEXT_FILE_H

#include "common/base/env.h"

#define TEXT_FILE_BYTES_MAX 16384

/* Reads and checks; `ret_text` has TEXT_FILE_BYTES_MAX + 1 bytes. NOT_FOUND; CORRUPT: it does not hold together; FORMAT:
 * its format is above `format`. */
MUST_CHECK enum errc text_file_read(struct env *env, const char *path, unsigned format, char *ret_text, struct error *e);
/* Checks a text that came another way. `name` is for messages. */
MUST_CHECK enum errc text_file_check(const char *text, const char *name, unsigned format, struct error *e);
/* Appends the CRC line to the `len` bytes in `text` (its capacity: TEXT_FILE_BYTES_MAX); returns the new length. */
size_t text_file_seal(char *text, size_t len);

/* The value of the `nth` (from 0) line "name=..." without its line end; NULL: there is none. */
const char *text_file_value(const char *text, const char *name, unsigned nth, size_t *ret_len);
/* False: absent, empty or too long for the target (which gets a terminator). */
bool text_file_copy(const char *text, const char *name, unsigned nth, char *target, size_t capacity);
bool text_file_hex(const char *text, const char *name, uint8_t *target, size_t len);
bool text_file_number(const char *text, const char *name, uint64_t *ret);

#endif
