/*
 * option_file - a configuration file in INI form, cut into its entries; which keys there are is server_options' matter.
 *
 *   # a comment; also with ';'
 *   [section]
 *   key = value          spaces around both are cut off; '#' and ';' within a value belong to it
 *
 * Everything else is refused with file and line: a line of another form, a key before the first section, a NUL.
 * Memory: owns the text, which entries point into, until option_file_close().
 */
#ifndef SERVER_OPTION_FILE_H
#define SERVER_OPTION_FILE_H

#include "common/base/error.h"

#include <stddef.h>

#define OPTION_FILE_BYTES_MAX (64u << 10)
#define OPTION_FILE_ENTRIES_MAX 512
#define OPTION_TOKEN_BYTES_MAX 4096

struct option_entry {
    const char *section, *key, *value;
    unsigned line; /* from 1; of an entry without a key: the line of the section itself */
};

struct option_file {
    char *text;
    const char *path; /* borrowed */
    struct option_entry *entries; /* a section's own entry, with key NULL, stands before its keys */
    unsigned count;
};

/* Takes apart `len` bytes; `path` is for messages and is borrowed. ERRC_INVALID with "PATH:LINE: what is wrong". */
MUST_CHECK enum errc option_file_parse(const char *text, size_t len, const char *path, struct option_file *ret_file,
                                       struct error *e);
/* NOT_FOUND, DENIED and the like as ERRC_INVALID with a text: a configuration that was named must be there. */
MUST_CHECK enum errc option_file_open(const char *path, struct option_file *ret_file, struct error *e);
void option_file_close(struct option_file *file); /* also of a zeroed one; wipes the text: a token may stand in it */

/* One line that is a secret, without spaces around it: gives *ret_text, to be freed with mem_wipe and mem_free. NULL and
 * ERRC_OK where the file does not exist: it may be removed once it was used. */
MUST_CHECK enum errc option_secret_read(const char *path, char **ret_text, struct error *e);

#endif
