/* `cairn trace`: asks every gateway that --admin names, again and again, for the access lines behind the last one seen. */
#include "common/base/mem.h"
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define POLL_MS 200

static atomic_bool stopped;

struct source {
    struct admin_options options; /* with one address */
    bool begun, silent, more;
    json_int_t instance, last;
};

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopped, true);
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL && text[0] != '\0' ? text : "-";
}

static void time_print(long long ms)
{
    char text[32];
    struct tm parts;
    time_t seconds = (time_t)(ms / 1000);
    (void)gmtime_r(&seconds, &parts);
    (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    (void)printf("%s.%03lldZ", text, ms % 1000);
}

/* Control bytes of a key would do things to the terminal. */
static void text_print(const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < ' ' || byte == 0x7f) {
            (void)printf("\\x%02x", byte);
        } else {
            (void)putchar(byte);
        }
    }
}

static void line_print(const json_t *line)
{
    time_print(format_number(line, "time_ms"));
    (void)printf("  %3lld  %-24s  ", format_number(line, "status"), text_of(line, "op"));
    text_print(text_of(line, "bucket"));
    (void)putchar('/');
    text_print(text_of(line, "key"));
    (void)printf("  %.3f ms  in %lld  out %lld  %s  %s  %s%s\n", (double)format_number(line, "us") / 1000,
                 format_number(line, "received"), format_number(line, "sent"), text_of(line, "principal"), text_of(line, "peer"),
                 text_of(line, "code"), json_is_true(json_object_get(line, "cut")) ? "  (cut)" : "");
}

static void dropped_print(const struct source *source, long long dropped)
{
    if (source->options.json) {
        (void)printf("{\"gateway\":\"%s\",\"dropped\":%lld}\n", source->options.admins[0], dropped);
    } else {
        (void)printf("# %s: %lld lines were dropped: they came faster than they were read\n", source->options.admins[0], dropped);
    }
}

static void lines_print(const struct source *source, const json_t *answer)
{
    size_t index;
    json_t *line;
    if (format_number(answer, "dropped") > 0) {
        dropped_print(source, format_number(answer, "dropped"));
    }
    json_array_foreach(json_object_get(answer, "lines"), index, line) {
        if (source->options.json) {
            (void)json_object_set_new(line, "gateway", json_string(source->options.admins[0]));
            (void)json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
            (void)putchar('\n');
        } else {
            line_print(line);
        }
    }
}

/* `begin`: no line of before. */
static char *target_of(const struct source *source, bool begin)
{
    char *bucket = source->options.bucket != NULL ? admin_escape(source->options.bucket) : NULL;
    char *status = source->options.status != NULL ? admin_escape(source->options.status) : NULL;
    char *after = begin ? mem_strdup("") : mem_format("after=%lld&", (long long)source->last);
    char *target = mem_format("/admin/v1/trace?%s%s%s%s%s%s", after, bucket != NULL ? "bucket=" : "", bucket != NULL ? bucket : "",
                              bucket != NULL && status != NULL ? "&" : "", status != NULL ? "status=" : "",
                              status != NULL ? status : "");
    mem_free(after);
    mem_free(bucket);
    mem_free(status);
    return target;
}

static enum errc source_ask(struct source *source, struct error *e)
{
    json_t *answer = NULL;
    char *target = target_of(source, !source->begun);
    enum errc rc = admin_request(&source->options, "GET", target, NULL, &answer, e);
    mem_free(target);
    if (rc != ERRC_OK) {
        return rc;
    }
    json_int_t instance = json_integer_value(json_object_get(answer, "instance"));
    if (source->begun && instance != source->instance) { /* started anew: its lines begin with 1 */
        source->last = 0;
    } else {
        lines_print(source, answer);
        source->last = json_integer_value(json_object_get(answer, "last"));
        source->more = json_is_true(json_object_get(answer, "more"));
    }
    source->begun = true;
    source->instance = instance;
    json_decref(answer);
    return ERRC_OK;
}

/* One round; false: no gateway answers. *ret_more: one of them has more to show at once. */
static bool sources_ask(struct source *sources, unsigned count, bool *ret_more)
{
    unsigned answered = 0;
    *ret_more = false;
    for (unsigned i = 0; i < count && !atomic_load(&stopped); i++) {
        struct error e = ERROR_INIT;
        sources[i].more = false;
        enum errc rc = source_ask(&sources[i], &e);
        *ret_more = *ret_more || sources[i].more;
        answered += rc == ERRC_OK ? 1 : 0;
        if (rc != ERRC_OK && !sources[i].silent) {
            (void)fprintf(stderr, "cairn: %s\n", e.text);
        }
        sources[i].silent = rc != ERRC_OK;
    }
    (void)fflush(stdout);
    return answered > 0 || atomic_load(&stopped);
}

static int trace_run(const struct admin_options *options)
{
    const struct timespec span = { .tv_nsec = POLL_MS * 1000000 };
    struct source *sources = mem_zalloc(options->admin_count * sizeof(*sources));
    for (unsigned i = 0; i < options->admin_count; i++) {
        sources[i].options = *options;
        sources[i].options.admin_count = 1;
        memcpy(sources[i].options.admins[0], options->admins[i], sizeof(options->admins[i]));
    }
    const struct sigaction action = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    bool ok = true;
    while (ok && !atomic_load(&stopped)) {
        bool more;
        ok = sources_ask(sources, options->admin_count, &more);
        if (ok && !more) {
            (void)nanosleep(&span, NULL); /* woken early: it is asked a little sooner */
        }
    }
    mem_wipe(sources, options->admin_count * sizeof(*sources));
    mem_free(sources);
    return ok && ferror(stdout) == 0 ? 0 : EXIT_FAILED;
}

int admin_trace_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn trace [--bucket B] [--status 5xx] [OPTION]...\n"
                     "Show requests as they end, until it is interrupted. --admin names the admin ports of gateways, all of\n"
                     "which are followed, or that of 'cairn server'. Lines that came faster than they were read are dropped,\n"
                     "and how many is said. With --json each line is an object.\n\n"
                     "  --bucket B         only requests of this bucket\n"
                     "  --status S         only these: three digits, or one digit and xx\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count != 0) {
        return admin_usage_fail("trace takes no argument");
    }
    int status = admin_keys_check(&options);
    return status != 0 ? status : trace_run(&options);
}
