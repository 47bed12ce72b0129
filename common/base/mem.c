#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *mem_check(void *p, size_t bytes)
{
    if (p == NULL) {
        (void)fprintf(stderr, "level=fatal event=out_of_memory bytes=%zu\n", bytes);
        abort();
    }
    return p;
}

void *mem_alloc(size_t bytes)
{
    return mem_check(malloc(bytes > 0 ? bytes : 1), bytes);
}

void *mem_zalloc(size_t bytes)
{
    return mem_check(calloc(1, bytes > 0 ? bytes : 1), bytes);
}

void *mem_realloc(void *p, size_t bytes)
{
    return mem_check(realloc(p, bytes > 0 ? bytes : 1), bytes);
}

void *mem_aligned(size_t alignment, size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, alignment, bytes > 0 ? bytes : alignment) != 0) {
        p = NULL;
    }
    return mem_check(p, bytes);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_format(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    return mem_check(len < 0 ? NULL : text, 0);
}

void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t bytes)
{
    if (bytes > 0) { /* nothing may be at NULL */
        explicit_bzero(p, bytes);
    }
}
