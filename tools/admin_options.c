#include "tools/admin_options.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROFILE_LINE_BYTES 512

static enum errc text_copy(char target[ADMIN_TEXT_BYTES], const char *text, const char *what, struct error *e)
{
    if (strlen(text) >= ADMIN_TEXT_BYTES) {
        return error_set(e, ERRC_INVALID, "%s is longer than %d bytes", what, ADMIN_TEXT_BYTES - 1);
    }
    (void)snprintf(target, ADMIN_TEXT_BYTES, "%s", text);
    return ERRC_OK;
}

/* "ADDR:PORT" or a whole URL. */
static enum errc admin_add(struct admin_options *options, const char *text, size_t text_len, struct error *e)
{
    char url[ADMIN_TEXT_BYTES];
    bool has_scheme = strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
    int len = snprintf(url, sizeof(url), "%s%.*s", has_scheme ? "" : "http://", (int)text_len, text);
    if (len <= 0 || (size_t)len >= sizeof(url) || memchr(text, ':', text_len) == NULL) {
        return error_set(e, ERRC_INVALID, "--admin '%.*s' is not ADDR:PORT", (int)text_len, text);
    }
    if (options->admin_count == ADMIN_ADDRESSES_MAX) {
        return error_set(e, ERRC_INVALID, "--admin: at most %d addresses", ADMIN_ADDRESSES_MAX);
    }
    while (len > 0 && url[len - 1] == '/') {
        url[--len] = '\0';
    }
    return text_copy(options->admins[options->admin_count++], url, "--admin", e);
}

/* One, or several with commas between. */
static enum errc admin_set(struct admin_options *options, const char *text, struct error *e)
{
    enum errc rc = ERRC_OK;
    options->admin_count = 0;
    while (rc == ERRC_OK && text != NULL) {
        const char *comma = strchr(text, ',');
        rc = admin_add(options, text, comma != NULL ? (size_t)(comma - text) : strlen(text), e);
        text = comma != NULL ? comma + 1 : NULL;
    }
    return rc;
}

static char *trimmed(char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        text[--len] = '\0';
    }
    return text;
}

static enum errc profile_line(struct admin_options *options, const char *path, unsigned number, char *line,
                              struct error *e)
{
    char *text = trimmed(line);
    if (*text == '\0' || *text == '#' || *text == '[') {
        return ERRC_OK;
    }
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        return error_set(e, ERRC_INVALID, "%s:%u: not NAME = VALUE", path, number);
    }
    *equals = '\0';
    const char *name = trimmed(text);
    const char *value = trimmed(equals + 1);
    if (strcmp(name, "access_key") == 0) {
        return text_copy(options->access_key, value, "access_key", e);
    }
    if (strcmp(name, "secret_key") == 0) {
        return text_copy(options->secret_key, value, "secret_key", e);
    }
    if (strcmp(name, "admin") == 0) {
        return options->admin_count > 0 ? ERRC_OK : admin_set(options, value, e);
    }
    return error_set(e, ERRC_INVALID, "%s:%u: unknown name '%s'", path, number, name);
}

static enum errc profile_read(struct admin_options *options, const char *path, bool required, struct error *e)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return required ? error_set(e, ERRC_NOT_FOUND, "cannot read the profile '%s'", path) : ERRC_OK;
    }
    struct stat info;
    enum errc rc = ERRC_OK;
    if (fstat(fileno(file), &info) == 0 && (info.st_mode & 077) != 0) {
        rc = error_set(e, ERRC_DENIED, "'%s' is readable by others: chmod 600 it", path);
    }
    char line[PROFILE_LINE_BYTES];
    for (unsigned number = 1; rc == ERRC_OK && fgets(line, sizeof(line), file) != NULL; number++) {
        rc = profile_line(options, path, number, line, e);
    }
    mem_wipe(line, sizeof(line));
    (void)fclose(file); /* read only: nothing to lose */
    return rc;
}

/* Environment first, then the profile. */
static enum errc keys_find(struct admin_options *options, const char *profile, struct error *e)
{
    enum errc rc = ERRC_OK;
    const char *access_key = getenv("CAIRN_ACCESS_KEY");
    const char *secret_key = getenv("CAIRN_SECRET_KEY");
    if (access_key != NULL && secret_key != NULL) {
        rc = text_copy(options->access_key, access_key, "CAIRN_ACCESS_KEY", e);
        rc = rc == ERRC_OK ? text_copy(options->secret_key, secret_key, "CAIRN_SECRET_KEY", e) : rc;
    } else if (profile != NULL) {
        rc = profile_read(options, profile, true, e);
    } else if (getenv("HOME") != NULL) {
        char *path = mem_format("%s/.config/cairn/profile", getenv("HOME"));
        rc = profile_read(options, path, false, e);
        mem_free(path);
    }
    return rc;
}

/* Commands with verbs that move data, and say how much with --dry-run. */
static bool moves_data(const char *command)
{
    return strcmp(command, "node") == 0 || strcmp(command, "disk") == 0 || strcmp(command, "repair") == 0;
}

enum errc admin_options_parse(int argc, char **argv, struct admin_options *ret_options, struct error *e)
{
    struct admin_options options = { .json = false };
    const char *profile = NULL;
    enum errc rc = ERRC_OK;
    for (int at = 1; at < argc && rc == ERRC_OK; at++) {
        const char *text = argv[at];
        const char *equals = strchr(text, '=');
        const char *value = equals != NULL ? equals + 1 : (at + 1 < argc ? argv[at + 1] : NULL);
        size_t len = equals != NULL ? (size_t)(equals - text) : strlen(text);
        if (text[0] != '-') {
            if (options.argument_count == ADMIN_ARGUMENTS_MAX) {
                return error_set(e, ERRC_INVALID, "too many arguments");
            }
            options.arguments[options.argument_count++] = text;
            continue;
        }
        if (strcmp(text, "--json") == 0) {
            options.json = true;
            continue;
        }
        if (strcmp(text, "--dry-run") == 0 && moves_data(argv[0])) {
            options.dry_run = true;
            continue;
        }
        if (strcmp(text, "--partial") == 0 && strcmp(argv[0], "metadata") == 0) {
            options.partial = true;
            continue;
        }
        if (strcmp(text, "--discard") == 0 && strcmp(argv[0], "metadata") == 0) {
            options.discard = true;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            options.help = true;
            continue;
        }
        if (value == NULL) {
            return error_set(e, ERRC_INVALID, "option '%s' is unknown or wants a value", text);
        }
        if (len == 7 && strncmp(text, "--admin", len) == 0) {
            rc = admin_set(&options, value, e);
        } else if (len == 9 && strncmp(text, "--profile", len) == 0) {
            profile = value;
        } else if (len == 5 && strncmp(text, "--for", len) == 0) {
            options.for_disk = value;
        } else if (len == 6 && strncmp(text, "--wait", len) == 0) {
            options.wait = value;
        } else if (len == 12 && strncmp(text, "--version-id", len) == 0) {
            options.version_id = value;
        } else if (len == 4 && strncmp(text, "--ca", len) == 0) {
            options.ca_file = value;
        } else if (len == 6 && strncmp(text, "--role", len) == 0) {
            options.role = value;
        } else if (len == 9 && strncmp(text, "--expires", len) == 0) {
            options.expires = value;
        } else if (len == 8 && strncmp(text, "--bucket", len) == 0) {
            options.bucket = value;
        } else if (len == 8 && strncmp(text, "--status", len) == 0) {
            options.status = value;
        } else if (len == 8 && strncmp(text, "--output", len) == 0) {
            options.output = value;
        } else if ((len == 4 && strncmp(text, "--to", len) == 0) || (len == 6 && strncmp(text, "--from", len) == 0)) {
            options.place = value;
        } else if (len == 10 && strncmp(text, "--endpoint", len) == 0) {
            options.endpoint = value;
        } else {
            return error_set(e, ERRC_INVALID, "unknown option '%s'", text);
        }
        at += equals == NULL ? 1 : 0;
    }
    if (rc == ERRC_OK && !options.help) {
        rc = keys_find(&options, profile, e);
    }
    if (rc == ERRC_OK && options.admin_count == 0) {
        rc = admin_set(&options, "127.0.0.1:9001", e);
    }
    if (rc == ERRC_OK) {
        *ret_options = options;
    }
    return rc;
}
