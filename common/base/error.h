/*
 * error - a code to act on and a story to read.
 *
 * Every fallible function returns `enum errc` and, where a person will want the story, fills a
 * `struct error` that lives in the operation (no heap, no thread local). The first error is the
 * cause: error_set() on an error that is already set asserts; outer layers use error_wrap().
 * Thread: an error belongs to its operation.
 */
#ifndef COMMON_BASE_ERROR_H
#define COMMON_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/*      name         text                     what the caller does */
#define ERRC_MAP(X)                                                                               \
    X(OK, "ok")                              /* */                                                \
    X(INVALID, "invalid argument")           /* the caller's input is wrong; do not retry */      \
    X(NOT_FOUND, "not found")                /* the thing is known not to exist */                \
    X(EXISTS, "exists already")              /* */                                                \
    X(CONFLICT, "precondition failed")       /* compare-and-set lost */                           \
    X(LIMIT, "limit reached")                /* queue or budget full: slow down, retry */         \
    X(NO_SPACE, "no space")                  /* retry elsewhere */                                \
    X(IO, "input/output error")              /* the disk or peer is at fault */                   \
    X(CORRUPT, "corrupt data")               /* a checksum or a structure does not hold */        \
    X(FORMAT, "format not supported")        /* written by a newer program */                     \
    X(UNAVAILABLE, "unavailable")            /* too few disks or voters answer: retry later */    \
    X(TIMEOUT, "timed out")                  /* outcome unknown */                                \
    X(CANCELED, "canceled")                  /* the owner closed or the client left */            \
    X(DENIED, "denied")                      /* permission */                                     \
    X(UNSUPPORTED, "not implemented")        /* */                                                \
    X(WOULD_BLOCK, "would block")            /* not in memory: ask again where blocking is fine */\
    X(INTERNAL, "internal error")            /* ours */

enum errc {
#define X(name, text) ERRC_##name,
    ERRC_MAP(X)
#undef X
    ERRC_COUNT
};

#define ERROR_TEXT_BYTES 240
#define MUST_CHECK __attribute__((warn_unused_result))

struct error {
    enum errc code;   /* ERRC_OK while unset */
    int sys_errno;    /* 0 where no system call failed */
    const char *file; /* where it was set first */
    int line;
    char text[ERROR_TEXT_BYTES];
};

#define ERROR_INIT { .code = ERRC_OK }

const char *errc_name(enum errc code); /* "NOT_FOUND" */
const char *errc_text(enum errc code); /* "not found" */

void error_clear(struct error *e);

/* Set an unset error; e may be NULL (the story is then dropped). Returns `code`, never ERRC_OK. */
#define error_set(e, code, ...) error_set_at((e), (code), 0, __FILE__, __LINE__, __VA_ARGS__)
/* Like error_set, from an errno value; appends strerror. ENOSPC -> NO_SPACE, ENOENT -> NOT_FOUND,
 * EACCES/EPERM -> DENIED, EEXIST -> EXISTS, else IO. */
#define error_set_sys(e, sys_errno, ...) error_set_sys_at((e), (sys_errno), __FILE__, __LINE__, __VA_ARGS__)

enum errc error_set_at(struct error *e, enum errc code, int sys_errno, const char *file, int line,
                       const char *format, ...) __attribute__((format(printf, 6, 7)));
enum errc error_set_sys_at(struct error *e, int sys_errno, const char *file, int line,
                           const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Puts "outer: " before the text of a set error and returns its code. */
enum errc error_wrap(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
