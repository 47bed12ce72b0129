/*
 * `cairn support bundle`: one tar.gz with what somebody needs who is to help: it asks every address of --admin, writes the
 * answers into a folder of its own and has tar(1) pack them. No file of the server is read, so no key can come along;
 * that the secret key of this very command is in no answer is made sure of as well.
 */
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "tools/admin.h"
#include "tools/admin_run.h"

#include <errno.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES 128
#define FOLDER "cairn-support"

extern char **environ;

/* Of each address. `voters`: a gateway has no such path, and it is no fault. */
static const struct { const char *target, *file; bool voters; } questions[] = {
    { "/admin/v1/config", "config.json", false },         { "/metrics", "metrics.txt", false },
    { "/admin/v1/log", "log.txt", false },                { "/admin/v1/status", "status.json", true },
    { "/admin/v1/durability", "durability.json", true },  { "/admin/v1/disks", "disks.json", true },
    { "/admin/v1/topology", "topology.json", true },      { "/admin/v1/nodes", "nodes.json", true },
    { "/admin/v1/fsck", "fsck.json", true },
};
#define QUESTION_COUNT (sizeof(questions) / sizeof(questions[0]))

struct bundle {
    const struct admin_options *options;
    char *base;            /* temporary, 0700 */
    FILE *notes;           /* what could not be had */
    unsigned answered;     /* addresses */
};

/* Blanks the secret key wherever it stands. */
static void secret_blank(const struct admin_options *options, struct enc *text)
{
    size_t len = strlen(options->secret_key);
    uint8_t *at = text->data;
    while (len > 0 && text->len > 0 &&
           (at = memmem(at, text->len - (size_t)(at - text->data), options->secret_key, len)) != NULL) {
        memset(at, '*', len);
        at += len;
    }
}

/* JSON is written with line breaks, a log as the lines that it is. */
static void answer_write(FILE *file, const char *name, const struct enc *answer)
{
    json_t *json = strstr(name, ".json") != NULL || strcmp(name, "log.txt") == 0
                       ? json_loadb((const char *)answer->data, answer->len, 0, NULL) : NULL;
    const char *log = strcmp(name, "log.txt") == 0 ? json_string_value(json_object_get(json, "log")) : NULL;
    if (log != NULL) {
        (void)fputs(log, file);
    } else if (json != NULL) {
        (void)json_dumpf(json, file, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void)fputc('\n', file);
    } else {
        (void)fwrite(answer->data, 1, answer->len, file);
    }
    json_decref(json);
}

static enum errc file_write(const char *path, const char *name, const struct enc *answer, struct error *e)
{
    FILE *file = fopen(path, "wxe");
    if (file == NULL) {
        return error_set(e, ERRC_IO, "cannot write '%s': %s", path, strerror(errno));
    }
    answer_write(file, name, answer);
    bool failed = ferror(file) != 0;
    failed = fclose(file) != 0 || failed;
    return failed ? error_set(e, ERRC_IO, "cannot write '%s': %s", path, strerror(errno)) : ERRC_OK;
}

/* One address: its folder, a file for each answer, a note for each that failed. */
static enum errc address_ask(struct bundle *bundle, const struct admin_options *one, struct error *e)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof(name), "%s", strstr(one->admins[0], "://") + 3);
    for (char *c = name; *c != '\0'; c++) {
        *c = strchr("/:[]", *c) != NULL ? '_' : *c;
    }
    char *folder = mem_format("%s/" FOLDER "/%s", bundle->base, name);
    enum errc rc = mkdir(folder, 0700) == 0 || errno == EEXIST ? ERRC_OK
                   : error_set(e, ERRC_IO, "cannot make '%s': %s", folder, strerror(errno));
    unsigned had = 0;
    for (size_t i = 0; i < QUESTION_COUNT && rc == ERRC_OK; i++) {
        struct enc answer = ENC_INIT;
        struct error failed = ERROR_INIT;
        if (admin_fetch(one, questions[i].target, &answer, &failed) == ERRC_OK) {
            char *path = mem_format("%s/%s", folder, questions[i].file);
            secret_blank(bundle->options, &answer);
            rc = file_write(path, questions[i].file, &answer, e);
            mem_free(path);
            had++;
        } else {
            (void)fprintf(bundle->notes, "%s%s: %s%s\n", one->admins[0], questions[i].target, failed.text,
                          questions[i].voters ? " (of a voter only)" : "");
        }
        enc_free(&answer);
    }
    bundle->answered += had > 0 ? 1 : 0;
    mem_free(folder);
    return rc;
}

static enum errc addresses_ask(struct bundle *bundle, struct error *e)
{
    struct admin_options *one = mem_alloc(sizeof(*one));
    enum errc rc = ERRC_OK;
    *one = *bundle->options;
    one->admin_count = 1;
    for (unsigned i = 0; i < bundle->options->admin_count && rc == ERRC_OK; i++) {
        memcpy(one->admins[0], bundle->options->admins[i], sizeof(one->admins[0]));
        rc = address_ask(bundle, one, e);
    }
    mem_wipe(one, sizeof(*one));
    mem_free(one);
    if (rc == ERRC_OK && bundle->answered == 0) {
        rc = error_set(e, ERRC_UNAVAILABLE, "no address of --admin answered, or the keys are wrong: nothing was written");
    }
    return rc;
}

static enum errc pack(const struct bundle *bundle, const char *output, struct error *e)
{
    char *base = bundle->base;
    char *file = mem_strdup(output);
    char tar[] = "tar", folder_option[] = "-C", make[] = "-czf", folder[] = FOLDER;
    char *const argv[] = { tar, make, file, folder_option, base, folder, NULL };
    pid_t pid;
    int status = 0;
    enum errc rc = ERRC_OK;
    if (posix_spawnp(&pid, "tar", NULL, NULL, argv, environ) != 0) {
        rc = error_set(e, ERRC_IO, "cannot run tar");
    } else if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        (void)unlink(output);
        rc = error_set(e, ERRC_IO, "tar could not write '%s'", output);
    }
    mem_free(file);
    return rc;
}

static int on_leftover(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static enum errc bundle_fill(struct bundle *bundle, struct error *e)
{
    char *folder = mem_format("%s/" FOLDER, bundle->base);
    char *notes = mem_format("%s/notes.txt", folder);
    enum errc rc = ERRC_OK;
    bundle->notes = mkdir(folder, 0700) == 0 ? fopen(notes, "wxe") : NULL;
    if (bundle->notes == NULL) {
        rc = error_set(e, ERRC_IO, "cannot write in '%s': %s", bundle->base, strerror(errno));
    } else {
        (void)fprintf(bundle->notes, "cairn %s\n", CAIRN_VERSION);
        rc = addresses_ask(bundle, e);
        if (fclose(bundle->notes) != 0 && rc == ERRC_OK) {
            rc = error_set(e, ERRC_IO, "cannot write '%s': %s", notes, strerror(errno));
        }
    }
    mem_free(notes);
    mem_free(folder);
    return rc;
}

static enum errc bundle_make(const struct admin_options *options, const char *output, struct error *e)
{
    const char *temporary = getenv("TMPDIR");
    struct bundle bundle = { .options = options };
    (void)umask(077);
    if (access(output, F_OK) == 0) {
        return error_set(e, ERRC_EXISTS, "'%s' is there already", output);
    }
    bundle.base = mem_format("%s/cairn-support-XXXXXX", temporary != NULL ? temporary : "/tmp");
    enum errc rc = mkdtemp(bundle.base) != NULL ? ERRC_OK
                   : error_set(e, ERRC_IO, "cannot make a folder for temporary files: %s", strerror(errno));
    if (rc == ERRC_OK) {
        rc = bundle_fill(&bundle, e);
        rc = rc == ERRC_OK ? pack(&bundle, output, e) : rc;
        (void)nftw(bundle.base, on_leftover, 8, FTW_DEPTH | FTW_PHYS); /* what stays is the operator's own, 0700 */
    }
    mem_free(bundle.base);
    return rc;
}

int admin_support_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn support bundle [--output FILE.tar.gz] [OPTION]...\n"
                     "Write what somebody needs who is to help into one file: of every address of --admin the version,\n"
                     "configuration, metrics and recent log lines, of voters also status, durability, disks, nodes, placement\n"
                     "groups and the last fsck. No keys, tokens or certificates, no names of objects; names of hosts, paths and\n"
                     "buckets may stand in the log. Look at it before you send it.\n\n"
                     "  --output FILE      where to (default cairn-support-TIME.tar.gz in this folder)\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count != 1 || strcmp(options.arguments[0], "bundle") != 0) {
        return admin_usage_fail("usage: cairn support bundle [--output FILE.tar.gz]");
    }
    int status = admin_keys_check(&options);
    if (status != 0) {
        return status;
    }
    char name[64];
    struct tm parts;
    time_t now = time(NULL);
    (void)gmtime_r(&now, &parts);
    (void)strftime(name, sizeof(name), "cairn-support-%Y%m%dT%H%M%SZ.tar.gz", &parts);
    const char *output = options.output != NULL ? options.output : name;
    if (bundle_make(&options, output, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn: %s\n", e.text);
        return EXIT_FAILED;
    }
    if (options.json) {
        json_t *json = json_pack("{s:s}", "file", output);
        (void)json_dumpf(json, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(json);
    } else {
        (void)printf("%s\n", output);
    }
    return 0;
}
