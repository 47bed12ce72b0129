/*
 * mem - the heap: allocations that never return NULL.
 *
 * Every input-driven size is bounded before it reaches these; running out of memory is then the
 * machine's failure, and the process ends with a line that says so.
 */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes);               /* uninitialised; gives (free with mem_free) */
void *mem_zalloc(size_t bytes);              /* zeroed */
void *mem_realloc(void *p, size_t bytes);
void *mem_aligned(size_t alignment, size_t bytes);
char *mem_strndup(const char *text, size_t len);
char *mem_strdup(const char *text);
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p);                      /* NULL is fine */
void mem_wipe(void *p, size_t bytes);        /* for secrets: never optimised away */

#endif
