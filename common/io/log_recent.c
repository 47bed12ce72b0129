#include "common/io/log_recent.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[LOG_RECENT_BYTES];
static size_t next;   /* where the next byte goes */
static bool is_full;  /* the byte at `next` is the oldest */

static void ring_add(const char *bytes, size_t len)
{
    size_t first = len < sizeof(ring) - next ? len : sizeof(ring) - next;
    memcpy(ring + next, bytes, first);
    memcpy(ring, bytes + first, len - first);
    is_full = is_full || next + len >= sizeof(ring);
    next = (next + len) % sizeof(ring);
}

void log_recent_keep(const char *line, size_t len)
{
    if (len >= sizeof(ring)) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    ring_add(line, len);
    ring_add("\n", 1);
    (void)pthread_mutex_unlock(&lock);
}

size_t log_recent_copy(char ret_text[LOG_RECENT_BYTES + 1])
{
    size_t len = 0;
    (void)pthread_mutex_lock(&lock);
    bool cut = is_full;
    if (is_full) {
        memcpy(ret_text, ring + next, sizeof(ring) - next);
        len = sizeof(ring) - next;
    }
    memcpy(ret_text + len, ring, next);
    len += next;
    (void)pthread_mutex_unlock(&lock);
    ret_text[len] = '\0';
    char *end = cut ? memchr(ret_text, '\n', len) : NULL; /* the oldest line has lost its head */
    if (end != NULL) {
        len -= (size_t)(end + 1 - ret_text);
        memmove(ret_text, end + 1, len + 1);
    }
    return len;
}
