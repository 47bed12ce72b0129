/* `cairn fsck`: begins a run on the server, shows how far it is, prints what it found. */
#include "common/base/mem.h"
#include "tools/admin.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 200
#define BAR_CELLS 30
#define FINDINGS_SHOWN 100

static const char *text_of(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? text : "-";
}

/* To standard error of a terminal only, in place. */
static void bar_show(const json_t *json)
{
    long long done = format_number(json, "phase_done");
    long long total = format_number(json, "phase_total");
    long long share = total > 0 ? done * BAR_CELLS / total : 0;
    int cells = share > BAR_CELLS ? BAR_CELLS : (int)share;
    (void)fprintf(stderr, "\r%-9s [%.*s%*s] %lld of %lld  ", text_of(json, "phase"), cells,
                  "##############################", BAR_CELLS - cells, "", done, total > done ? total : done);
    (void)fflush(stderr);
}

static void format_fsck(const json_t *json)
{
    const json_t *checked = json_object_get(json, "checked");
    const json_t *findings = json_object_get(json, "findings");
    size_t index;
    json_t *finding;
    (void)printf("Checked        %lld buckets, %lld versions, %lld extents, %lld references, %lld parts, %lld shards\n",
                 format_number(checked, "buckets"), format_number(checked, "versions"), format_number(checked, "extents"),
                 format_number(checked, "references"), format_number(checked, "manifests"), format_number(checked, "shards"));
    (void)printf("Not judged     %lld shards of writes under way, %lld waiting to be freed\n",
                 format_number(checked, "shards_of_open_sessions"), format_number(checked, "shards_to_be_freed"));
    if (strcmp(text_of(json, "state"), "done") != 0) {
        (void)printf("Not finished   %s\n", text_of(json, "error"));
    }
    (void)printf("Findings       %lld\n", format_number(json, "finding_count"));
    json_array_foreach(findings, index, finding) {
        if (index == FINDINGS_SHOWN) {
            (void)printf("  ... (--json shows more)\n");
            break;
        }
        (void)printf("  %s: %s\n    -> %s\n", text_of(finding, "kind"), text_of(finding, "text"), text_of(finding, "todo"));
    }
}

static void pause_ms(long ms)
{
    const struct timespec span = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    (void)nanosleep(&span, NULL); /* woken early: it is asked a little sooner */
}

/* At the first address that begins one (the voter that leads); it alone is asked from then on. Gives. */
static enum errc run_begin(struct admin_options *options, json_t **ret_json, struct error *e)
{
    struct admin_options *one = mem_alloc(sizeof(*one));
    enum errc rc = ERRC_UNAVAILABLE;
    *one = *options;
    one->admin_count = 1;
    for (unsigned i = 0; rc != ERRC_OK && i < options->admin_count; i++) {
        memcpy(one->admins[0], options->admins[i], sizeof(one->admins[0]));
        error_clear(e);
        rc = admin_request(one, "POST", "/admin/v1/fsck", "{}", ret_json, e);
    }
    *options = *one;
    mem_wipe(one, sizeof(*one));
    mem_free(one);
    return rc;
}

/* Asks until the run has ended. Gives. */
static enum errc run_await(const struct admin_options *options, json_t **json, struct error *e)
{
    long long run = format_number(*json, "run");
    bool bar = isatty(2) != 0 && !options->json;
    while (strcmp(text_of(*json, "state"), "running") == 0) {
        if (bar) {
            bar_show(*json);
        }
        pause_ms(POLL_MS);
        json_decref(*json);
        *json = NULL;
        enum errc rc = admin_request(options, "GET", "/admin/v1/fsck", NULL, json, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        if (format_number(*json, "run") != run) {
            return error_set(e, ERRC_IO, "the server that ran it was started anew, or another voter leads: run fsck again");
        }
    }
    if (bar) {
        (void)fprintf(stderr, "\r%*s\r", 72, "");
    }
    return ERRC_OK;
}

int admin_fsck_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn fsck [OPTION]...\n"
                     "Prove, while the system serves, that counters are exact, that references and indexes of the metadata\n"
                     "agree, and that every shard is where the metadata says and none is without a record. Nothing is deleted.\n"
                     "What it finds is printed with what to do. Exit status 0: clean; 1: findings, or it could not finish.\n"
                     "Bytes are not read: 'cairn explain' and the scrub verify those.\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count != 0) {
        return admin_usage_fail("fsck takes no argument");
    }
    json_t *json = NULL;
    int status = admin_keys_check(&options);
    if (status != 0) {
        return status;
    }
    enum errc rc = run_begin(&options, &json, &e);
    rc = rc == ERRC_OK ? run_await(&options, &json, &e) : rc;
    if (rc != ERRC_OK) {
        json_decref(json);
        (void)fprintf(stderr, "cairn: %s\n", e.text);
        return EXIT_FAILED;
    }
    bool clean = json_is_true(json_object_get(json, "clean"));
    (void)admin_answer_print(&options, json, format_fsck);
    return clean ? 0 : EXIT_FAILED;
}
