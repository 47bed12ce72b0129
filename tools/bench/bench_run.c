/*
 * The phases of a run: make the bucket, write what is to be read, measure, clean up.
 */
#include "tools/bench/bench.h"

#include "common/base/assert.h"
#include "common/base/env.h"
#include "common/base/mem.h"
#include "tools/bench/bench_process.h"
#include "tools/bench/bench_report.h"

#include <inttypes.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_MS 100
#define PREPARE_CONCURRENCY_MAX 64u

struct bench {
    struct bench_options options;
    struct bench_body body;
    struct bench_address address;
    int server_pid;            /* 0: not local or not visible */
    uint64_t server_peak_bytes; /* of the phase that runs */
    uint64_t written;          /* objects 0..written-1 are there and are ours to delete */
};

struct phase {
    const char *name;
    enum bench_op op;
    uint64_t requests;
    uint64_t duration_ms;
    uint64_t objects;
    unsigned concurrency;
    bool random;
};

static double cpu_seconds_own(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void progress_show(const struct phase *phase, struct bench_job *job, double seconds)
{
    uint64_t done = atomic_load(&job->done);
    double mib = (double)atomic_load(&job->moved_bytes) / (1024.0 * 1024.0);
    (void)fprintf(stderr, "\r%s: %" PRIu64 " requests, %.0f/s, %.1f MiB/s, %.0f s \033[K", phase->name, done,
                  (double)done / seconds, mib / seconds, seconds);
}

/* Watches the workers: a line of progress, the server's memory. Ends when `running` is 0. */
static void workers_watch(struct bench *bench, const struct phase *phase, struct bench_job *job,
                          atomic_uint *running, uint64_t start_ns)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    while (atomic_load(running) > 0) {
        const struct timespec pause = { .tv_nsec = SAMPLE_MS * 1000000 };
        struct bench_process_sample sample;
        (void)nanosleep(&pause, NULL);
        if (bench->server_pid != 0 && bench_process_read(bench->server_pid, &sample) &&
            sample.rss_bytes > bench->server_peak_bytes) {
            bench->server_peak_bytes = sample.rss_bytes;
        }
        if (terminal) {
            progress_show(phase, job, (double)(env_now_ns(env_real()) - start_ns) / 1e9);
        }
    }
    if (terminal) {
        (void)fprintf(stderr, "\r\033[K");
    }
}

struct worker_thread {
    struct bench_worker worker;
    pthread_t thread;
    atomic_uint *running;
};

static void *worker_thread_run(void *data)
{
    struct worker_thread *thread = data;
    (void)bench_worker_run(&thread->worker);
    atomic_fetch_sub(thread->running, 1);
    return NULL;
}

static void result_merge(struct bench_result *target, const struct bench_result *source)
{
    for (unsigned i = 0; i < BENCH_OP_COUNT; i++) {
        bench_histogram_merge(&target->latency[i], &source->latency[i]);
        target->ok[i] += source->ok[i];
    }
    target->sent_bytes += source->sent_bytes;
    target->received_bytes += source->received_bytes;
    target->keys += source->keys;
    target->failed += source->failed;
    if (target->failure[0] == '\0') {
        memcpy(target->failure, source->failure, sizeof(target->failure));
    }
}

/* Runs one phase on all threads; adds its results to *result, returns its wall time in seconds. */
static double phase_run(struct bench *bench, const struct phase *phase, struct bench_result *result)
{
    struct bench_job job = { .options = &bench->options, .body = &bench->body, .address = bench->address,
                             .op = phase->op, .requests = phase->requests, .objects = phase->objects,
                             .random = phase->random, .next_put = phase->objects };
    unsigned threads = bench->options.threads < phase->concurrency ? bench->options.threads : phase->concurrency;
    struct worker_thread *all = mem_zalloc(threads * sizeof(all[0]));
    atomic_uint running = threads;
    uint64_t start_ns = env_now_ns(env_real());
    job.deadline_ns = phase->duration_ms != 0 ? start_ns + phase->duration_ms * 1000000u : 0;
    for (unsigned i = 0; i < threads; i++) {
        all[i].worker.job = &job;
        all[i].worker.index = i;
        all[i].worker.connections = phase->concurrency / threads + (i < phase->concurrency % threads);
        all[i].running = &running;
        int rc = pthread_create(&all[i].thread, NULL, worker_thread_run, &all[i]);
        ASSERT(rc == 0);
    }
    workers_watch(bench, phase, &job, &running, start_ns);
    for (unsigned i = 0; i < threads; i++) {
        (void)pthread_join(all[i].thread, NULL);
        result_merge(result, &all[i].worker.result);
    }
    uint64_t last_ns = atomic_load(&job.last_ns); /* the watcher notices the end up to SAMPLE_MS late */
    double seconds = last_ns > start_ns ? (double)(last_ns - start_ns) / 1e9 : 0;
    if (phase->op == BENCH_MIXED || phase->op == BENCH_PUT) {
        uint64_t handed = phase->op == BENCH_PUT ? atomic_load(&job.next) : atomic_load(&job.next_put);
        uint64_t limit = phase->op == BENCH_PUT && phase->requests != 0 ? phase->requests : handed;
        bench->written = handed < limit ? handed : limit;
    }
    mem_free(all);
    return seconds;
}

static int failed(const struct bench_result *result, const char *what)
{
    (void)fprintf(stderr, "cairn bench: %s: %" PRIu64 " requests failed; the first: %s\n", what, result->failed,
                  result->failure);
    return 1;
}

/* A phase that is not measured. */
static int silent_run(struct bench *bench, const struct phase *phase)
{
    struct bench_result *result = mem_zalloc(sizeof(*result));
    (void)phase_run(bench, phase, result);
    int status = result->failed > 0 ? failed(result, phase->name) : 0;
    mem_free(result);
    return status;
}

static int prepare(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    const struct phase bucket = { .name = "make bucket", .op = BENCH_MAKE_BUCKET, .requests = 1, .concurrency = 1 };
    unsigned concurrency = options->concurrency > PREPARE_CONCURRENCY_MAX ? PREPARE_CONCURRENCY_MAX : options->concurrency;
    const struct phase fill = { .name = "prepare", .op = BENCH_PUT, .requests = options->objects,
                                .concurrency = concurrency < 16 && options->object_bytes < (1u << 20) ? 16 : concurrency };
    int status = silent_run(bench, &bucket);
    if (status == 0 && options->op != BENCH_PUT && !options->prepared) {
        status = silent_run(bench, &fill);
    } else if (options->prepared) {
        bench->written = options->objects;
    }
    return status;
}

static void clean_up(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    const struct phase erase = { .name = "clean up", .op = BENCH_DELETE, .requests = bench->written,
                                 .concurrency = options->concurrency > PREPARE_CONCURRENCY_MAX ? PREPARE_CONCURRENCY_MAX
                                                                                               : options->concurrency };
    if (!options->keep && options->op != BENCH_DELETE && bench->written > 0) {
        (void)silent_run(bench, &erase); /* what remains is named on standard error; the measurement stands */
    }
}

static int measure(struct bench *bench)
{
    const struct bench_options *options = &bench->options;
    struct bench_result *result = mem_zalloc(sizeof(*result));
    struct bench_process_sample before = { 0 }, after = { 0 };
    const struct phase phase = {
        .name = bench_op_name(options->op), .op = options->op, .concurrency = options->concurrency,
        .requests = options->op == BENCH_DELETE || options->duration_ms == 0 ? options->objects : 0,
        .duration_ms = options->duration_ms, .objects = options->objects,
        .random = options->op != BENCH_PUT && options->op != BENCH_DELETE && options->duration_ms != 0,
    };
    bool has_server = bench->server_pid != 0 && bench_process_read(bench->server_pid, &before);
    double own = cpu_seconds_own();
    bench->server_peak_bytes = before.rss_bytes;
    double seconds = phase_run(bench, &phase, result);
    has_server = has_server && bench_process_read(bench->server_pid, &after);
    const struct bench_report report = { .options = options, .result = result, .seconds = seconds,
                                         .client_cpu_seconds = cpu_seconds_own() - own, .has_server = has_server,
                                         .server_pid = bench->server_pid,
                                         .server_cpu_seconds = after.cpu_seconds - before.cpu_seconds,
                                         .server_peak_bytes = bench->server_peak_bytes };
    (options->json ? bench_report_json : bench_report_text)(&report);
    int status = result->failed > 0 ? 1 : 0;
    mem_free(result);
    return status;
}

static bool address_find(struct bench *bench)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(bench->options.host, bench->options.service, &hints, &found);
    if (rc != 0 || found == NULL) {
        (void)fprintf(stderr, "cairn bench: %s: %s\n", bench->options.host, gai_strerror(rc));
        return false;
    }
    memcpy(&bench->address.address, found->ai_addr, found->ai_addrlen);
    bench->address.len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool is_local(const struct bench_options *options)
{
    return strncmp(options->host, "127.", 4) == 0 || strcmp(options->host, "::1") == 0 ||
           strcmp(options->host, "localhost") == 0;
}

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* a failure shows as "cannot make a socket" */
    }
}

int bench_main(int argc, char **argv)
{
    struct bench bench = { .server_pid = 0 };
    struct error e = ERROR_INIT;
    if (bench_options_parse(argc, argv, &bench.options, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn bench: %s\nTry 'cairn bench --help'.\n", e.text);
        return 2;
    }
    if (bench.options.help) {
        bench_options_help();
        return 0;
    }
    if (!address_find(&bench)) {
        return 1;
    }
    descriptors_raise();
    bench.server_pid = bench.options.server_pid;
    if (bench.server_pid == 0 && is_local(&bench.options)) {
        bench.server_pid = bench_process_find((unsigned)strtoul(bench.options.service, NULL, 10));
    }
    bench_body_init(&bench.body);
    int status = prepare(&bench);
    if (status == 0) {
        status = measure(&bench);
    }
    clean_up(&bench);
    bench_body_done(&bench.body);
    return status;
}
