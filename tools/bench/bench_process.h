/*
 * bench_process - CPU time and memory of a process of this machine, from /proc.
 */
#ifndef TOOLS_BENCH_BENCH_PROCESS_H
#define TOOLS_BENCH_BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct bench_process_sample {
    double cpu_seconds;  /* user and system, since the process began */
    uint64_t rss_bytes;  /* resident now */
};

/* The process that listens on this TCP port and whose descriptors we may see; 0: none found. */
int bench_process_find(unsigned port);
/* False when the process is gone or hidden. */
bool bench_process_read(int pid, struct bench_process_sample *ret_sample);

#endif
