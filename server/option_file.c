#include "server/option_file.h"

#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BLANKS " \t\r"

static char *blanks_cut(char *text)
{
    text += strspn(text, BLANKS);
    size_t len = strlen(text);
    while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL) {
        len--;
    }
    text[len] = '\0';
    return text;
}

static enum errc line_refuse(const struct option_file *file, unsigned line, const char *why, struct error *e)
{
    return error_set(e, ERRC_INVALID, "%s:%u: %s", file->path, line, why);
}

static enum errc entry_add(struct option_file *file, struct option_entry entry, struct error *e)
{
    if (file->count == OPTION_FILE_ENTRIES_MAX) {
        return line_refuse(file, entry.line, "too many keys", e);
    }
    file->entries[file->count++] = entry;
    return ERRC_OK;
}

/* One line, ended by a NUL; *section is the one in force. */
static enum errc line_parse(struct option_file *file, char *text, unsigned line, const char **section, struct error *e)
{
    text = blanks_cut(text);
    if (*text == '\0' || *text == '#' || *text == ';') {
        return ERRC_OK;
    }
    if (*text == '[') {
        size_t len = strlen(text);
        bool closed = text[len - 1] == ']';
        text[len - 1] = '\0';
        *section = closed ? blanks_cut(text + 1) : "";
        if (**section == '\0') {
            return line_refuse(file, line, "a section is written [NAME]", e);
        }
        return entry_add(file, (struct option_entry){ .section = *section, .line = line }, e);
    }
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return line_refuse(file, line, "this is not KEY = VALUE", e);
    }
    if (*section == NULL) {
        return line_refuse(file, line, "a key must stand in a section, such as [common]", e);
    }
    *equals = '\0';
    return entry_add(file, (struct option_entry){ .section = *section, .key = blanks_cut(text),
                                                  .value = blanks_cut(equals + 1), .line = line }, e);
}

enum errc option_file_parse(const char *text, size_t len, const char *path, struct option_file *ret_file, struct error *e)
{
    struct option_file file = { .path = path };
    const char *section = NULL;
    enum errc rc = ERRC_OK;
    file.text = mem_strndup(text, len); /* a NUL within ends it, and is found below */
    file.entries = mem_zalloc(OPTION_FILE_ENTRIES_MAX * sizeof(*file.entries));
    unsigned line = 1;
    bool whole = strlen(file.text) == len;
    for (char *at = file.text; rc == ERRC_OK && at != NULL; line++) {
        char *end = strchr(at, '\n');
        if (end != NULL) {
            *end = '\0';
        } else if (!whole) {
            rc = line_refuse(&file, line, "a NUL byte: this is not a text", e);
            break;
        }
        rc = line_parse(&file, at, line, &section, e);
        at = end != NULL ? end + 1 : NULL;
    }
    if (rc != ERRC_OK) {
        option_file_close(&file);
        return rc;
    }
    *ret_file = file;
    return ERRC_OK;
}

/* At most `capacity` bytes; *ret_len is capacity where there are more. */
static enum errc file_read(const char *path, char *target, size_t capacity, size_t *ret_len, struct error *e)
{
    FILE *in = fopen(path, "re");
    if (in == NULL) {
        int code = errno;
        return error_set(e, code == ENOENT ? ERRC_NOT_FOUND : ERRC_INVALID, "'%s': %s", path, strerror(code));
    }
    *ret_len = fread(target, 1, capacity, in);
    bool failed = ferror(in) != 0;
    (void)fclose(in); /* it was only read */
    return failed ? error_set(e, ERRC_INVALID, "'%s' cannot be read", path) : ERRC_OK;
}

enum errc option_file_open(const char *path, struct option_file *ret_file, struct error *e)
{
    size_t len = 0;
    char *bytes = mem_alloc(OPTION_FILE_BYTES_MAX + 1);
    enum errc rc = file_read(path, bytes, OPTION_FILE_BYTES_MAX + 1, &len, e);
    if (rc == ERRC_NOT_FOUND) {
        rc = ERRC_INVALID; /* the text is set */
    } else if (rc == ERRC_OK && len > OPTION_FILE_BYTES_MAX) {
        rc = error_set(e, ERRC_INVALID, "'%s' has more than %u bytes", path, OPTION_FILE_BYTES_MAX);
    } else if (rc == ERRC_OK) {
        rc = option_file_parse(bytes, len, path, ret_file, e);
        mem_wipe(bytes, len);
    }
    mem_free(bytes);
    return rc;
}

void option_file_close(struct option_file *file)
{
    if (file->text != NULL) {
        for (unsigned i = 0; i < file->count; i++) {
            if (file->entries[i].key != NULL) {
                mem_wipe(file->text + (file->entries[i].value - file->text), strlen(file->entries[i].value));
            }
        }
    }
    mem_free(file->text);
    mem_free(file->entries);
    *file = (struct option_file){ 0 };
}

enum errc option_secret_read(const char *path, char **ret_text, struct error *e)
{
    char bytes[OPTION_TOKEN_BYTES_MAX + 1];
    size_t len = 0;
    struct error why = ERROR_INIT;
    enum errc rc = file_read(path, bytes, sizeof(bytes), &len, &why);
    if (rc != ERRC_OK) {
        *ret_text = NULL;
        return rc == ERRC_NOT_FOUND ? ERRC_OK : error_set(e, rc, "%s", why.text);
    }
    if (len < sizeof(bytes)) {
        bytes[len] = '\0';
        while (len > 0 && strchr(BLANKS "\n", bytes[len - 1]) != NULL) {
            bytes[--len] = '\0';
        }
    }
    if (len == 0 || len == sizeof(bytes) || strlen(bytes) != len || strpbrk(bytes, BLANKS "\n") != NULL) {
        rc = error_set(e, ERRC_INVALID, "'%s' does not hold one token", path);
    } else {
        *ret_text = mem_strndup(bytes, len);
    }
    mem_wipe(bytes, sizeof(bytes));
    return rc;
}
