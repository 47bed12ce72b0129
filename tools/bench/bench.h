/*
 * bench - `cairn bench`: generates S3 load and reports throughput, latencies and what the server used.
 *
 * Reads its own command line, prints to standard output, progress to a terminal on standard error.
 * Thread: the caller's, plus --threads workers that share nothing but a counter (bench_worker.h).
 */
#ifndef TOOLS_BENCH_BENCH_H
#define TOOLS_BENCH_BENCH_H

/* argv[0] is "bench". Returns 0 only when every request succeeded, 1 when one failed, 2 for a bad command line. */
int bench_main(int argc, char **argv);

#endif
