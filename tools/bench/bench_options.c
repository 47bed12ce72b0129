#include "tools/bench/bench_options.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum errc (*option_apply)(struct bench_options *options, const char *value, struct error *e);

struct option_row {
    const char *name;
    const char *argument; /* NULL: a switch */
    const char *help;
    option_apply apply;
};

static const char *const op_names[] = { "put", "get", "list", "delete", "stat", "mixed" };

const char *bench_op_name(enum bench_op op)
{
    return op_names[op];
}

static enum errc parse_count(const char *text, uint64_t max, uint64_t *ret, struct error *e)
{
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || value == 0 || value > max) {
        return error_set(e, ERRC_INVALID, "'%s' is not a number from 1 to %" PRIu64, text, max);
    }
    *ret = value;
    return ERRC_OK;
}

/* 4096, 4KiB, 10MiB, 1GiB; KB, MB, GB are powers of ten. */
static enum errc parse_size(const char *text, uint64_t *ret, struct error *e)
{
    static const struct {
        const char *unit;
        uint64_t bytes;
    } units[] = { { "", 1 },         { "B", 1 },          { "KiB", 1024 },    { "MiB", 1u << 20 },
                  { "GiB", 1u << 30 }, { "KB", 1000 },      { "MB", 1000000 },  { "GB", 1000000000 } };
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; isdigit((unsigned char)text[0]) && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0 && number <= BENCH_OBJECT_BYTES_MAX / units[i].bytes) {
            *ret = number * units[i].bytes;
            return ERRC_OK;
        }
    }
    return error_set(e, ERRC_INVALID, "'%s' is not a size such as 4KiB or 10MiB, at most 5GiB", text);
}

/* 500ms, 30s, 5m */
static enum errc parse_duration(const char *text, uint64_t *ret_ms, struct error *e)
{
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    uint64_t unit_ms = strcmp(end, "ms") == 0 ? 1 : strcmp(end, "s") == 0 ? 1000 : strcmp(end, "m") == 0 ? 60000 : 0;
    if (!isdigit((unsigned char)text[0]) || unit_ms == 0 || number == 0 || number > 86400000) {
        return error_set(e, ERRC_INVALID, "'%s' is not a duration such as 30s, 500ms or 5m", text);
    }
    *ret_ms = number * unit_ms;
    return ERRC_OK;
}

static enum errc apply_endpoint(struct bench_options *options, const char *value, struct error *e)
{
    static const char scheme[] = "http://";
    if (strncmp(value, scheme, sizeof(scheme) - 1) != 0) {
        return error_set(e, ERRC_INVALID, "'%s': the endpoint must be http://HOST:PORT (bench speaks no TLS)", value);
    }
    const char *authority = value + sizeof(scheme) - 1;
    size_t len = strcspn(authority, "/");
    if (len == 0 || len >= BENCH_HOST_BYTES || strlen(authority + len) > 1) {
        return error_set(e, ERRC_INVALID, "'%s' is not http://HOST:PORT", value);
    }
    (void)snprintf(options->host_header, sizeof(options->host_header), "%.*s", (int)len, authority);
    const char *host = options->host_header;
    const char *close = strchr(host, ']');
    const char *colon = strrchr(close != NULL ? close : host, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - host) : strlen(host);
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    (void)snprintf(options->host, sizeof(options->host), "%.*s", (int)host_len, host);
    uint64_t port = 80;
    if (colon != NULL && parse_count(colon + 1, UINT16_MAX, &port, NULL) != ERRC_OK) {
        return error_set(e, ERRC_INVALID, "'%s' has no valid port", value);
    }
    (void)snprintf(options->service, sizeof(options->service), "%u", (unsigned)port);
    return ERRC_OK;
}

static enum errc apply_bucket(struct bench_options *options, const char *value, struct error *e)
{
    size_t len = strlen(value);
    if (len < 3 || len > BENCH_BUCKET_BYTES_MAX || strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789.-") != len) {
        return error_set(e, ERRC_INVALID, "'%s' is not a bucket name", value);
    }
    options->bucket = value;
    return ERRC_OK;
}

static enum errc apply_prefix(struct bench_options *options, const char *value, struct error *e)
{
    size_t len = strlen(value);
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)value[i]) && strchr("-_./", value[i]) == NULL) {
            return error_set(e, ERRC_INVALID, "the prefix '%s' may hold letters, digits and -_./ only", value);
        }
    }
    if (len > BENCH_PREFIX_BYTES_MAX) {
        return error_set(e, ERRC_INVALID, "the prefix is longer than %d bytes", BENCH_PREFIX_BYTES_MAX);
    }
    options->prefix = value;
    return ERRC_OK;
}

static enum errc apply_size(struct bench_options *options, const char *value, struct error *e)
{
    return parse_size(value, &options->object_bytes, e);
}

static enum errc apply_objects(struct bench_options *options, const char *value, struct error *e)
{
    return parse_count(value, 1000000000, &options->objects, e);
}

static enum errc apply_duration(struct bench_options *options, const char *value, struct error *e)
{
    return parse_duration(value, &options->duration_ms, e);
}

static enum errc parse_unsigned(const char *value, unsigned max, unsigned *ret, struct error *e)
{
    uint64_t number = 0;
    enum errc rc = parse_count(value, max, &number, e);
    if (rc == ERRC_OK) {
        *ret = (unsigned)number;
    }
    return rc;
}

static enum errc apply_concurrency(struct bench_options *options, const char *value, struct error *e)
{
    return parse_unsigned(value, BENCH_CONCURRENCY_MAX, &options->concurrency, e);
}

static enum errc apply_threads(struct bench_options *options, const char *value, struct error *e)
{
    return parse_unsigned(value, BENCH_THREADS_MAX, &options->threads, e);
}

static enum errc apply_page(struct bench_options *options, const char *value, struct error *e)
{
    return parse_unsigned(value, 1000, &options->page_keys, e);
}

static enum errc apply_sign(struct bench_options *options, const char *value, struct error *e)
{
    if (strcmp(value, "payload") == 0) {
        options->sign = BENCH_SIGN_PAYLOAD;
    } else if (strcmp(value, "unsigned") == 0) {
        options->sign = BENCH_SIGN_UNSIGNED;
    } else {
        return error_set(e, ERRC_INVALID, "--sign is 'payload' or 'unsigned', not '%s'", value);
    }
    return ERRC_OK;
}

static enum errc apply_region(struct bench_options *options, const char *value, struct error *e)
{
    (void)e;
    options->region = value;
    return ERRC_OK;
}

static enum errc apply_server_pid(struct bench_options *options, const char *value, struct error *e)
{
    unsigned pid = 0;
    enum errc rc = parse_unsigned(value, INT32_MAX, &pid, e);
    options->server_pid = (int)pid;
    return rc;
}

#define SWITCH(name)                                                                                     \
    static enum errc apply_##name(struct bench_options *options, const char *value, struct error *e)     \
    {                                                                                                    \
        (void)value;                                                                                     \
        (void)e;                                                                                         \
        options->name = true;                                                                            \
        return ERRC_OK;                                                                                  \
    }
SWITCH(keep)
SWITCH(prepared)
SWITCH(verify)
SWITCH(json)
SWITCH(help)

static const struct option_row rows[] = {
    { "--endpoint", "URL", "the server (default http://127.0.0.1:9000)", apply_endpoint },
    { "--bucket", "B", "bucket, made if it is not there (default cairn-bench)", apply_bucket },
    { "--prefix", "P", "what the keys begin with (default bench/)", apply_prefix },
    { "--size", "SIZE", "bytes of an object: 4KiB, 10MiB, 1GiB (default 4KiB)", apply_size },
    { "--objects", "N", "objects to write, or to read from (default 1000)", apply_objects },
    { "--duration", "TIME", "measure for this long: 30s, 500ms, 5m (default: each object once)", apply_duration },
    { "--concurrency", "N", "connections, each with one request at a time (default 32)", apply_concurrency },
    { "--threads", "N", "threads of the generator (default 1)", apply_threads },
    { "--page", "N", "keys of a page of list (default 1000)", apply_page },
    { "--sign", "HOW", "payload: hash every body; unsigned: UNSIGNED-PAYLOAD (default payload)", apply_sign },
    { "--region", "NAME", "region of the signatures (default us-east-1)", apply_region },
    { "--server-pid", "PID", "process whose CPU and memory are reported (default: found by the port)", apply_server_pid },
    { "--keep", NULL, "leave the objects in place", apply_keep },
    { "--prepared", NULL, "the objects are there already, from a run with --keep", apply_prepared },
    { "--verify", NULL, "compare every byte that get reads with what put wrote", apply_verify },
    { "--json", NULL, "print JSON with stable names", apply_json },
    { "--help", NULL, "print this text", apply_help },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

void bench_options_help(void)
{
    (void)printf("Usage: cairn bench put|get|list|delete|stat|mixed [OPTION]...\n"
                 "Generate S3 load over HTTP/1.1 and report throughput, latencies and what a local server used.\n"
                 "mixed is 45%% get, 30%% stat, 15%% put, 10%% delete.\n\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char left[32];
        (void)snprintf(left, sizeof(left), "%s %s", rows[i].name, rows[i].argument != NULL ? rows[i].argument : "");
        (void)printf("  %-22s %s\n", left, rows[i].help);
    }
    (void)printf("\nKeys: CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, else AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.\n"
                 "Exit status: 0 every request succeeded, 1 some failed, 2 the command line cannot be right.\n");
}

static enum errc apply_one(struct bench_options *options, int argc, char **argv, int *index, struct error *e)
{
    const char *argument = argv[*index];
    const char *equals = strchr(argument, '=');
    size_t name_len = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strlen(rows[i].name) != name_len || strncmp(rows[i].name, argument, name_len) != 0) {
            continue;
        }
        if (rows[i].argument == NULL) {
            return equals == NULL ? rows[i].apply(options, NULL, e)
                                  : error_set(e, ERRC_INVALID, "%s takes no value", rows[i].name);
        }
        if (equals == NULL && *index + 1 == argc) {
            return error_set(e, ERRC_INVALID, "%s needs a value: %s", rows[i].name, rows[i].argument);
        }
        return rows[i].apply(options, equals != NULL ? equals + 1 : argv[++*index], e);
    }
    return error_set(e, ERRC_INVALID, "unknown option '%s'", argument);
}

static enum errc parse_op(const char *text, struct bench_options *options, struct error *e)
{
    for (unsigned i = 0; i <= BENCH_MIXED; i++) {
        if (strcmp(text, op_names[i]) == 0) {
            options->op = (enum bench_op)i;
            return ERRC_OK;
        }
    }
    return error_set(e, ERRC_INVALID, "'%s' is not one of put, get, list, delete, stat, mixed", text);
}

static const char *first_of_environment(const char *a, const char *b)
{
    const char *value = getenv(a);
    return value != NULL && value[0] != '\0' ? value : getenv(b);
}

static enum errc keys_find(struct bench_options *options, struct error *e)
{
    options->access_key = first_of_environment("CAIRN_ACCESS_KEY", "AWS_ACCESS_KEY_ID");
    options->secret_key = first_of_environment("CAIRN_SECRET_KEY", "AWS_SECRET_ACCESS_KEY");
    if (options->access_key == NULL || options->secret_key == NULL) {
        return error_set(e, ERRC_INVALID, "CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY must hold the keys");
    }
    return ERRC_OK;
}

enum errc bench_options_parse(int argc, char **argv, struct bench_options *ret_options, struct error *e)
{
    struct bench_options options = { .bucket = "cairn-bench", .prefix = "bench/", .region = "us-east-1",
                                     .object_bytes = 4096, .concurrency = 32, .threads = 1, .page_keys = 1000 };
    enum errc rc = apply_endpoint(&options, "http://127.0.0.1:9000", e);
    bool has_op = false;
    for (int i = 1; i < argc && rc == ERRC_OK; i++) {
        if (argv[i][0] == '-') {
            rc = apply_one(&options, argc, argv, &i, e);
        } else if (has_op) {
            rc = error_set(e, ERRC_INVALID, "one operation at a time: '%s' is too many", argv[i]);
        } else {
            rc = parse_op(argv[i], &options, e);
            has_op = true;
        }
    }
    if (rc == ERRC_OK && !options.help) {
        rc = has_op ? keys_find(&options, e) : error_set(e, ERRC_INVALID, "which operation? put, get, list, delete, stat or mixed");
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    if (options.threads > options.concurrency) {
        options.threads = options.concurrency;
    }
    if (options.objects == 0 && (options.op != BENCH_PUT || options.duration_ms == 0)) {
        options.objects = 1000;
    }
    *ret_options = options;
    return ERRC_OK;
}
