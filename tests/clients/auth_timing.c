/*
 * auth_timing - does the time of a refusal tell an attacker anything? Measures auth_check() on pairs of requests.
 *
 *   auth_timing [SAMPLES [SEED]]      default: 1,000,000 of each of the two requests of a pair
 *
 * The two requests of a pair have the same length and lie in the same memory; which one comes next is drawn. Of each
 * sample only auth_check() is timed. Printed: the means, their difference with its 95 % interval, and Welch's t, over
 * all samples and over those below a time that 90 % keep (a preempted sample says nothing about the code). |t| above
 * 4.5 is the usual bound for "these differ". A report, no verdict: a busy machine moves it.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/auth/auth_request.h"
#include "gateway/auth/auth_signer.h"
#include "gateway/auth/auth_sigv4.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HOST "localhost:9000"
#define TARGET "/bucket/photos/2026/11/23/a%20name.jpg?versionId=0123456789abcdef"
#define WALL_MS 1795460520000u
#define KNOWN_KEY "AKIDEXAMPLE000000000"
#define UNKNOWN_KEY "AKIDEXAMPLF000000000"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define SAMPLES 1000000
#define WARM_UP 5000
#define AUTHORIZATION_BYTES 512

struct pair {
    const char *name;
    const char *what[2];
    char authorization[2][AUTHORIZATION_BYTES];
    size_t len;
    enum s3_error code[2]; /* that must be answered */
    double *ns[2];
    size_t count[2];
};

struct bench {
    struct auth_config config;
    struct auth_signed made; /* a right signature */
    struct arena arena;
    uint64_t random;
    char now[AUTHORIZATION_BYTES]; /* where every sample's header lies */
};

static bool identity_find(void *data, struct slice access_key, struct auth_identity *ret_identity)
{
    (void)data;
    if (!slice_equal_str(access_key, KNOWN_KEY)) {
        return false;
    }
    *ret_identity = (struct auth_identity){ .secret_len = sizeof(SECRET) - 1 };
    memcpy(ret_identity->secret, SECRET, sizeof(SECRET) - 1);
    return true;
}

static uint64_t random_next(struct bench *bench) /* xorshift64 */
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* One request; how long its check took. */
static double sample(struct bench *bench, const struct pair *pair, unsigned which)
{
    struct arena arena;
    struct auth_result result;
    struct s3_error_info err = S3_ERROR_INFO_INIT;
    const struct s3_config s3 = { .region = slice_str("us-east-1") };
    memcpy(bench->now, pair->authorization[which], pair->len);
    const struct s3_header headers[] = { { slice_str("Host"), slice_str(HOST) },
                                         { slice_str("Authorization"), slice_of(bench->now, pair->len) },
                                         { slice_str("x-amz-date"), bench->made.date },
                                         { slice_str("x-amz-content-sha256"), bench->made.payload } };
    struct s3_request request = { .method = slice_str("GET"), .target = slice_str(TARGET), .headers = headers,
                                  .header_count = 4 };
    arena_init(&arena, 1u << 20);
    enum s3_error code = s3_request_parse(&request, &s3, &arena, NULL);
    ASSERT(code == S3_ERROR_NONE);
    uint64_t start = now_ns();
    code = auth_check(&bench->config, &request, WALL_MS, &result, &err);
    uint64_t end = now_ns();
    ASSERT(code == pair->code[which]);
    arena_done(&arena);
    return (double)(end - start);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The time below which 90 % of all samples of the pair lie. */
static double crop_at(const struct pair *pair)
{
    size_t count = pair->count[0] + pair->count[1];
    double *all = mem_alloc(count * sizeof(*all));
    memcpy(all, pair->ns[0], pair->count[0] * sizeof(*all));
    memcpy(all + pair->count[0], pair->ns[1], pair->count[1] * sizeof(*all));
    qsort(all, count, sizeof(*all), compare);
    double limit = all[count / 10 * 9];
    mem_free(all);
    return limit;
}

static void report(const struct pair *pair, const char *label, double limit)
{
    double mean[2];
    double error2[2]; /* square of the standard error of the mean */
    for (unsigned which = 0; which < 2; which++) {
        double sum = 0;
        double squares = 0;
        double count = 0;
        for (size_t i = 0; i < pair->count[which]; i++) {
            double ns = pair->ns[which][i];
            sum += ns <= limit ? ns : 0;
            count += ns <= limit ? 1 : 0;
        }
        mean[which] = sum / count;
        for (size_t i = 0; i < pair->count[which]; i++) {
            double off = pair->ns[which][i] - mean[which];
            squares += pair->ns[which][i] <= limit ? off * off : 0;
        }
        error2[which] = squares / (count - 1) / count;
    }
    double difference = mean[1] - mean[0];
    double error = sqrt(error2[0] + error2[1]);
    printf("  %-8s %9.1f ns %9.1f ns   difference %8.1f +- %.1f ns   t %.2f\n", label, mean[0], mean[1], difference,
           1.96 * error, difference / error);
}

static void pair_run(struct bench *bench, struct pair *pair, size_t samples)
{
    for (unsigned which = 0; which < 2; which++) {
        pair->ns[which] = mem_alloc(samples * sizeof(double));
    }
    for (unsigned i = 0; i < WARM_UP; i++) {
        (void)sample(bench, pair, i & 1);
    }
    while (pair->count[0] < samples || pair->count[1] < samples) {
        unsigned which = (unsigned)(random_next(bench) >> 40 & 1);
        which = pair->count[which] < samples ? which : 1 - which;
        pair->ns[which][pair->count[which]] = sample(bench, pair, which);
        pair->count[which]++;
    }
    printf("%s: %s | %s\n", pair->name, pair->what[0], pair->what[1]);
    report(pair, "all", INFINITY);
    report(pair, "fast 90%", crop_at(pair));
    mem_free(pair->ns[0]);
    mem_free(pair->ns[1]);
}

/* The right Authorization, with the digit at `wrong` of its signature changed (64: none), under this access key. */
static void authorization_make(struct bench *bench, struct pair *pair, unsigned which, const char *access_key,
                               size_t wrong)
{
    struct slice right = bench->made.authorization;
    char *text = pair->authorization[which];
    ASSERT(right.len < AUTHORIZATION_BYTES);
    memcpy(text, right.data, right.len);
    pair->len = right.len;
    char *key = memmem(text, right.len, KNOWN_KEY, sizeof(KNOWN_KEY) - 1);
    ASSERT(key != NULL);
    memcpy(key, access_key, sizeof(KNOWN_KEY) - 1);
    if (wrong < AUTH_SIGNATURE_BYTES) {
        char *digit = text + right.len - AUTH_SIGNATURE_BYTES + wrong; /* the signature is last */
        *digit = *digit == '0' ? '1' : '0';
    }
    pair->code[which] = strcmp(access_key, KNOWN_KEY) != 0    ? S3_ERROR_INVALID_ACCESS_KEY_ID /* names, no secrets */
                        : wrong < AUTH_SIGNATURE_BYTES ? S3_ERROR_SIGNATURE_DOES_NOT_MATCH
                                                       : S3_ERROR_NONE;
}

static void bench_open(struct bench *bench, uint64_t seed)
{
    const struct auth_signer signer = { slice_str(KNOWN_KEY), slice_str(SECRET), slice_str("us-east-1") };
    bench->random = seed * 2654435769u + 88172645463325252u;
    bench->config = (struct auth_config){ .identities = { identity_find, NULL }, .region = slice_str("us-east-1"),
                                          .cache = auth_key_cache_create() };
    arena_init(&bench->arena, 1u << 20);
    enum errc rc = auth_sign(&signer, &bench->arena, "GET", slice_str(TARGET), slice_str(HOST), NULL, 0,
                             slice_str("UNSIGNED-PAYLOAD"), WALL_MS, &bench->made);
    ASSERT(rc == ERRC_OK);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static struct pair same = { .name = "control", .what = { "first digit wrong", "the same" } };
    static struct pair prefix = { .name = "prefix", .what = { "first digit wrong", "only the last digit wrong" } };
    static struct pair key = { .name = "access key", .what = { "unknown", "known, signature wrong" } };
    size_t samples = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : SAMPLES;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (samples < 100) {
        (void)fprintf(stderr, "usage: auth_timing [SAMPLES [SEED]], at least 100\n");
        return 2;
    }
    bench_open(&bench, seed);
    authorization_make(&bench, &same, 0, KNOWN_KEY, 0);
    authorization_make(&bench, &same, 1, KNOWN_KEY, 0);
    authorization_make(&bench, &prefix, 0, KNOWN_KEY, 0);
    authorization_make(&bench, &prefix, 1, KNOWN_KEY, AUTH_SIGNATURE_BYTES - 1);
    authorization_make(&bench, &key, 0, UNKNOWN_KEY, 0);
    authorization_make(&bench, &key, 1, KNOWN_KEY, 0);
    printf("%zu samples of each, seed %llu\n", samples, (unsigned long long)seed);
    pair_run(&bench, &same, samples);
    pair_run(&bench, &prefix, samples);
    pair_run(&bench, &key, samples);
    auth_key_cache_destroy(bench.config.cache);
    arena_done(&bench.arena);
    return 0;
}
