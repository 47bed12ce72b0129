/*
 * bench_report - prints what a run showed, for people or as JSON.
 *
 * JSON names are stable: docs/man/cairn-bench.1 lists them.
 */
#ifndef TOOLS_BENCH_BENCH_REPORT_H
#define TOOLS_BENCH_BENCH_REPORT_H

#include "tools/bench/bench_worker.h"

struct bench_report {
    const struct bench_options *options;
    const struct bench_result *result;
    double seconds;              /* of the measured phase */
    double client_cpu_seconds;
    bool has_server;             /* the server is local and was seen */
    int server_pid;
    double server_cpu_seconds;
    uint64_t server_peak_bytes;  /* highest resident memory seen in the measured phase, sampled */
};

void bench_report_text(const struct bench_report *report);
void bench_report_json(const struct bench_report *report);

#endif
