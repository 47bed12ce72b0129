/*
 * log_recent - the last lines of the log, kept in memory for `cairn support bundle`.
 *
 * Only lines with a limited site are kept (log.h): the access log would push all else out.
 * Thread: any.
 */
#ifndef COMMON_IO_LOG_RECENT_H
#define COMMON_IO_LOG_RECENT_H

#include <stddef.h>

#define LOG_RECENT_BYTES (256u << 10)

/* A line without its newline. */
void log_recent_keep(const char *line, size_t len);
/* Copies the newest whole lines, oldest first, and a terminator; returns their length. */
size_t log_recent_copy(char ret_text[LOG_RECENT_BYTES + 1]);

#endif
