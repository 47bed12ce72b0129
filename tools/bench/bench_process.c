#include "tools/bench/bench_process.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 600
#define LINE_BYTES 512
#define STATE_LISTEN 0x0Au /* include/net/tcp_states.h */

/* Copies field `index` (blanks separate, 0-based) of a line; false: there are fewer. */
static bool field_get(const char *line, unsigned index, char *text, size_t text_bytes)
{
    for (unsigned i = 0;; i++) {
        line += strspn(line, " \t");
        size_t len = strcspn(line, " \t\n");
        if (len == 0) {
            return false;
        }
        if (i == index) {
            (void)snprintf(text, text_bytes, "%.*s", (int)len, line);
            return true;
        }
        line += len;
    }
}

/* The inode of a listening socket in /proc/net/tcp or tcp6: fields 1 local address, 3 state, 9 inode. */
static bool inode_find(const char *table, unsigned port, char *inode, size_t inode_bytes)
{
    FILE *file = fopen(table, "re");
    char line[LINE_BYTES];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        char local[64], state[8];
        if (!field_get(line, 1, local, sizeof(local)) || !field_get(line, 3, state, sizeof(state))) {
            continue;
        }
        const char *colon = strrchr(local, ':');
        found = colon != NULL && strtoul(colon + 1, NULL, 16) == port && strtoul(state, NULL, 16) == STATE_LISTEN &&
                field_get(line, 9, inode, inode_bytes);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static bool process_has(const char *pid, const char *wanted)
{
    char path[PATH_BYTES], link[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    bool found = false;
    const struct dirent *entry;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof(path), "/proc/%s/fd/%s", pid, entry->d_name);
        ssize_t len = readlink(path, link, sizeof(link) - 1);
        if (len > 0) {
            link[len] = '\0';
            found = strcmp(link, wanted) == 0;
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return found;
}

int bench_process_find(unsigned port)
{
    char inode[32], wanted[48];
    if (!inode_find("/proc/net/tcp", port, inode, sizeof(inode)) &&
        !inode_find("/proc/net/tcp6", port, inode, sizeof(inode))) {
        return 0;
    }
    (void)snprintf(wanted, sizeof(wanted), "socket:[%s]", inode);
    DIR *dir = opendir("/proc");
    int pid = 0;
    const struct dirent *entry;
    while (dir != NULL && pid == 0 && (entry = readdir(dir)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && process_has(entry->d_name, wanted)) {
            pid = (int)strtol(entry->d_name, NULL, 10);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return pid;
}

bool bench_process_read(int pid, struct bench_process_sample *ret_sample)
{
    char path[PATH_BYTES], line[2 * LINE_BYTES];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t len = fread(line, 1, sizeof(line) - 1, file);
    (void)fclose(file);
    line[len] = '\0';
    const char *rest = strrchr(line, ')'); /* the name may hold blanks */
    char user[32], system[32], pages[32];
    /* after the name: 0 state, ..., 11 utime, 12 stime, 21 rss in pages (proc(5)) */
    if (rest == NULL || !field_get(rest + 1, 11, user, sizeof(user)) ||
        !field_get(rest + 1, 12, system, sizeof(system)) || !field_get(rest + 1, 21, pages, sizeof(pages))) {
        return false;
    }
    double ticks = (double)(strtoull(user, NULL, 10) + strtoull(system, NULL, 10));
    ret_sample->cpu_seconds = ticks / (double)sysconf(_SC_CLK_TCK);
    ret_sample->rss_bytes = strtoull(pages, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}
