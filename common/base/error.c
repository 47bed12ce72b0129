#include "common/base/error.h"

#include "common/base/assert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const errc_names[] = {
#define X(name, text) #name,
    ERRC_MAP(X)
#undef X
};
static const char *const errc_texts[] = {
#define X(name, text) text,
    ERRC_MAP(X)
#undef X
};

const char *errc_name(enum errc code)
{
    return (unsigned)code < ERRC_COUNT ? errc_names[code] : "UNKNOWN";
}

const char *errc_text(enum errc code)
{
    return (unsigned)code < ERRC_COUNT ? errc_texts[code] : "unknown";
}

void error_clear(struct error *e)
{
    *e = (struct error)ERROR_INIT;
}

static void error_fill(struct error *e, enum errc code, int sys_errno, const char *file, int line,
                       const char *format, va_list args) __attribute__((format(printf, 6, 0)));

static void error_fill(struct error *e, enum errc code, int sys_errno, const char *file, int line,
                       const char *format, va_list args)
{
    ASSERT(e->code == ERRC_OK); /* the first error is the cause: wrap it, do not replace it */
    e->code = code;
    e->sys_errno = sys_errno;
    e->file = file;
    e->line = line;
    (void)vsnprintf(e->text, sizeof(e->text), format, args); /* cut text is still a text */
}

enum errc error_set_at(struct error *e, enum errc code, int sys_errno, const char *file, int line,
                       const char *format, ...)
{
    ASSERT(code != ERRC_OK);
    if (e != NULL) {
        va_list args;
        va_start(args, format);
        error_fill(e, code, sys_errno, file, line, format, args);
        va_end(args);
    }
    return code;
}

static enum errc errc_from_sys(int sys_errno)
{
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
        return ERRC_NO_SPACE;
    case ENOENT:
        return ERRC_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERRC_DENIED;
    case EEXIST:
        return ERRC_EXISTS;
    default:
        return ERRC_IO;
    }
}

enum errc error_set_sys_at(struct error *e, int sys_errno, const char *file, int line,
                           const char *format, ...)
{
    enum errc code = errc_from_sys(sys_errno);
    if (e != NULL) {
        char reason[96];
        const char *text = strerror_r(sys_errno, reason, sizeof(reason));
        va_list args;
        va_start(args, format);
        error_fill(e, code, sys_errno, file, line, format, args);
        va_end(args);
        size_t used = strlen(e->text);
        (void)snprintf(e->text + used, sizeof(e->text) - used, ": %s", text);
    }
    return code;
}

enum errc error_wrap(struct error *e, const char *format, ...)
{
    ASSERT(e != NULL && e->code != ERRC_OK);
    char inner[ERROR_TEXT_BYTES];
    memcpy(inner, e->text, sizeof(inner));
    va_list args;
    va_start(args, format);
    (void)vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    size_t used = strlen(e->text);
    (void)snprintf(e->text + used, sizeof(e->text) - used, ": %s", inner);
    return e->code;
}
