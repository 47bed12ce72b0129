/*
 * `cairn metadata backup` and `cairn metadata backups`: a checkpoint of the voter that leads, into a bucket.
 *
 *   1 ask for a checkpoint that covers what is applied now   2 the newest backup says which files the bucket has
 *   3 each other file: brought here, checked, put under its SHA-256   4 what the bucket had: is it there in its size?
 *   5 the backup's own file, with the names of all: only now is there a new backup
 * A crash before 5 leaves files that no backup names; the next one uses them where they fit.
 */
#include "common/base/base64.h"
#include "common/base/crc32c.h"
#include "common/base/env.h"
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "tools/admin_run.h"
#include "tools/backup_list.h"
#include "tools/backup_verb.h"

#include <string.h>
#include <time.h>

#define ROUNDS_MAX 3         /* a checkpoint that goes while it is read: from a newer one */
#define CHECKPOINT_POLLS 240 /* of half a second */

struct backup_run {
    const struct admin_options *options;
    struct s3_client client;
    struct backup backup; /* that is being made */
    struct backup known;  /* files that the bucket has */
    uint64_t sent_files, sent_bytes;
    bool behind;          /* what failed is the checkpoint's source: worth another round */
};

static enum errc checkpoint_ask(struct backup_run *run, uint64_t wanted, json_t **ret_json, struct error *e)
{
    char *target = mem_format("/admin/v1/metadata/checkpoint?index=%llu", (unsigned long long)wanted);
    enum errc rc = admin_request(run->options, "GET", target, NULL, ret_json, e);
    mem_free(target);
    return rc;
}

/* Until the leader has one. */
static enum errc checkpoint_await(struct backup_run *run, json_t **ret_json, struct error *e)
{
    const struct timespec pause = { .tv_nsec = 500000000 };
    json_t *json = NULL;
    enum errc rc = admin_request(run->options, "GET", "/admin/v1/metadata/checkpoint", NULL, &json, e);
    uint64_t wanted = (uint64_t)json_integer_value(json_object_get(json, "wanted"));
    for (unsigned i = 0; rc == ERRC_OK && !json_is_true(json_object_get(json, "ready")); i++) {
        json_decref(json);
        json = NULL;
        if (i > 0) {
            (void)nanosleep(&pause, NULL);
        }
        rc = i < CHECKPOINT_POLLS ? checkpoint_ask(run, wanted, &json, e)
                                  : error_set(e, ERRC_TIMEOUT, "the voters made no checkpoint within two minutes");
    }
    *ret_json = json;
    return rc;
}

static enum errc checkpoint_take(struct backup_run *run, struct error *e)
{
    json_t *json = NULL;
    enum errc rc = checkpoint_await(run, &json, e);
    const char *cluster = json_string_value(json_object_get(json, "cluster"));
    backup_free(&run->backup);
    if (rc == ERRC_OK && (cluster == NULL || strlen(cluster) != BACKUP_CLUSTER_BYTES - 1 ||
                          !backup_files_parse(json_object_get(json, "files"), false, &run->backup))) {
        rc = error_set(e, ERRC_CORRUPT, "the voter's answer makes no sense");
    }
    if (rc == ERRC_OK) {
        memcpy(run->backup.cluster, cluster, BACKUP_CLUSTER_BYTES);
        run->backup.index = (uint64_t)json_integer_value(json_object_get(json, "index"));
        run->backup.term = (uint64_t)json_integer_value(json_object_get(json, "term"));
    }
    json_decref(json);
    return rc;
}

/* ---- files ---- */

/* One piece, appended to the file; *ret_len 0: the file ends. */
static enum errc piece_take(struct backup_run *run, const char *name, uint64_t offset, FILE *file, struct digest *digest,
                            uint32_t *crc, size_t *ret_len, struct error *e)
{
    json_t *json = NULL;
    char *escaped = admin_escape(name);
    char *target = mem_format("/admin/v1/metadata/checkpoint/piece?index=%llu&name=%s&offset=%llu",
                              (unsigned long long)run->backup.index, escaped, (unsigned long long)offset);
    enum errc rc = admin_request(run->options, "GET", target, NULL, &json, e);
    const char *text = json_string_value(json_object_get(json, "bytes"));
    *ret_len = 0;
    run->behind = rc != ERRC_OK;
    if (rc == ERRC_OK) {
        size_t text_len = text != NULL ? strlen(text) : 0;
        uint8_t *bytes = mem_alloc(base64_decoded_max(text_len));
        if (text == NULL || !base64_decode(text, text_len, bytes, ret_len)) {
            rc = error_set(e, ERRC_CORRUPT, "the voter's answer makes no sense");
        } else if (fwrite(bytes, 1, *ret_len, file) != *ret_len) {
            rc = error_set(e, ERRC_IO, "a temporary file cannot be written");
        }
        digest_update(digest, bytes, *ret_len);
        *crc = crc32c_update(*crc, bytes, *ret_len);
        mem_free(bytes);
    }
    json_decref(json);
    mem_free(target);
    mem_free(escaped);
    return rc;
}

/* The whole file, checked against the checkpoint's list. */
static enum errc file_bring(struct backup_run *run, struct backup_file *want, FILE *file, uint8_t sha256[SHA256_BYTES],
                            struct error *e)
{
    struct digest digest;
    uint64_t size = 0;
    uint32_t crc = 0;
    size_t len = 1;
    enum errc rc = ERRC_OK;
    digest_init(&digest, DIGEST_SHA256);
    while (rc == ERRC_OK && len > 0 && size < want->size) {
        rc = piece_take(run, want->name, size, file, &digest, &crc, &len, e);
        size += len;
    }
    digest_final(&digest, sha256);
    digest_done(&digest);
    hex_encode(sha256, SHA256_BYTES, want->sha256);
    if (rc == ERRC_OK && (size != want->size || crc != want->crc32c)) {
        run->behind = true;
        rc = error_set(e, ERRC_CORRUPT, "'%s' came with other bytes than its checkpoint says", want->name);
    }
    return rc == ERRC_OK && fflush(file) != 0 ? error_set(e, ERRC_IO, "a temporary file cannot be written") : rc;
}

static enum errc there_check(struct backup_run *run, const char *key, uint64_t want, struct error *e)
{
    uint64_t size = 0;
    enum errc rc = s3_client_size(&run->client, key, &size, e);
    return rc == ERRC_OK && size != want ? error_set(e, ERRC_NOT_FOUND, "%s has another size in the bucket", key) : rc;
}

static enum errc file_send(struct backup_run *run, struct backup_file *want, struct error *e)
{
    uint8_t sha256[SHA256_BYTES];
    char *key = NULL;
    FILE *file = tmpfile();
    enum errc rc = file != NULL ? file_bring(run, want, file, sha256, e) : error_set(e, ERRC_IO, "a temporary file cannot be made");
    if (rc == ERRC_OK) {
        key = backup_file_key(run->backup.cluster, want->sha256);
        rc = s3_client_put(&run->client, key, file, want->size, sha256, e);
        rc = rc == ERRC_OK ? there_check(run, key, want->size, e) : rc;
    }
    if (rc == ERRC_OK) {
        run->sent_files++;
        run->sent_bytes += want->size;
        *backup_add(&run->known) = *want;
    }
    if (file != NULL) {
        (void)fclose(file); /* it is gone with that */
    }
    mem_free(key);
    return rc;
}

/* Steps 3 and 4. */
static enum errc file_settle(struct backup_run *run, struct backup_file *want, struct error *e)
{
    const struct backup_file *known = backup_find(&run->known, want);
    struct error why = ERROR_INIT;
    if (known == NULL) {
        return file_send(run, want, e);
    }
    memcpy(want->sha256, known->sha256, sizeof(want->sha256));
    char *key = backup_file_key(run->backup.cluster, want->sha256);
    enum errc rc = there_check(run, key, want->size, &why);
    mem_free(key);
    if (rc == ERRC_NOT_FOUND) {
        return file_send(run, want, e); /* somebody deleted it */
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "%s", why.text);
}

static enum errc known_read(struct backup_run *run, struct error *e)
{
    struct error why = ERROR_INIT;
    char *name = NULL;
    enum errc rc = backup_newest(&run->client, run->backup.cluster, &name, &why);
    rc = rc == ERRC_OK ? backup_read(&run->client, run->backup.cluster, name, &run->known, &why) : rc;
    mem_free(name);
    /* none yet, or a damaged one: everything is sent */
    return rc == ERRC_OK || rc == ERRC_NOT_FOUND || rc == ERRC_CORRUPT ? ERRC_OK : error_set(e, rc, "%s", why.text);
}

static enum errc round_run(struct backup_run *run, bool first, struct error *e)
{
    enum errc rc = checkpoint_take(run, e);
    rc = rc == ERRC_OK && first ? known_read(run, e) : rc;
    run->behind = false;
    for (size_t i = 0; i < run->backup.count && rc == ERRC_OK; i++) {
        rc = file_settle(run, &run->backup.files[i], e);
    }
    return rc;
}

/* ---- the verbs ---- */

static void made_note(struct backup *backup)
{
    time_t now = (time_t)(env_wall_ms(env_real()) / 1000);
    struct tm utc;
    (void)gmtime_r(&now, &utc);
    (void)strftime(backup->made, sizeof(backup->made), "%Y%m%dT%H%M%SZ", &utc);
}

static enum errc backup_make(struct backup_run *run, char **ret_name, struct error *e)
{
    enum errc rc = ERRC_OK;
    run->behind = true;
    for (unsigned round = 0; round < ROUNDS_MAX && (round == 0 || (rc != ERRC_OK && run->behind)); round++) {
        error_clear(e);
        rc = round_run(run, round == 0, e);
    }
    if (rc == ERRC_OK) {
        made_note(&run->backup);
        rc = backup_write(&run->client, &run->backup, ret_name, e);
    }
    return rc;
}

static json_t *backup_json(const struct backup *backup, const char *name)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:I,s:I}", "name", name, "cluster", backup->cluster, "made", backup->made, "index",
                     (json_int_t)backup->index, "files", (json_int_t)backup->count, "bytes", (json_int_t)backup_bytes(backup));
}

static void made_print(const json_t *json)
{
    (void)printf("Backup %s\n  %lld files, %lld bytes; %lld files, %lld bytes of them were sent now\n",
                 json_string_value(json_object_get(json, "name")), json_integer_value(json_object_get(json, "files")),
                 json_integer_value(json_object_get(json, "bytes")), json_integer_value(json_object_get(json, "sent_files")),
                 json_integer_value(json_object_get(json, "sent_bytes")));
}

int backup_make_run(const struct admin_options *options)
{
    struct backup_run run = { .options = options };
    struct error e = ERROR_INIT;
    char *name = NULL;
    int status = admin_keys_check(options);
    if (status != 0) {
        return status;
    }
    enum errc rc = s3_client_init(&run.client, options->place, options->endpoint, &e);
    rc = rc == ERRC_OK ? backup_make(&run, &name, &e) : rc;
    if (rc == ERRC_OK) {
        json_t *json = backup_json(&run.backup, name);
        (void)json_object_set_new(json, "sent_files", json_integer((json_int_t)run.sent_files));
        (void)json_object_set_new(json, "sent_bytes", json_integer((json_int_t)run.sent_bytes));
        status = admin_answer_print(options, json, made_print);
    } else {
        status = admin_fail(&e);
    }
    mem_free(name);
    backup_free(&run.known);
    backup_free(&run.backup);
    return status;
}

struct backup_walk {
    const struct s3_client *client;
    json_t *backups;
    enum errc rc;
    struct error *e;
};

/* Of every cluster below the prefix: "<cluster>/backups/<name>". */
static void on_key(void *data, const char *key)
{
    struct backup_walk *walk = data;
    const char *under = strstr(key, "/backups/");
    struct backup backup;
    if (walk->rc != ERRC_OK || under == NULL || under - key != BACKUP_CLUSTER_BYTES - 1) {
        return;
    }
    char *cluster = mem_strndup(key, BACKUP_CLUSTER_BYTES - 1);
    const char *name = under + strlen("/backups/");
    struct error why = ERROR_INIT;
    enum errc rc = backup_read(walk->client, cluster, name, &backup, &why);
    if (rc == ERRC_OK) {
        (void)json_array_append_new(walk->backups, backup_json(&backup, name));
        backup_free(&backup);
    } else if (rc == ERRC_CORRUPT) { /* the others are worth the more */
        (void)json_array_append_new(walk->backups, json_pack("{s:s,s:s,s:b,s:s}", "name", name, "cluster", cluster, "damaged", 1,
                                                             "error", why.text));
    } else {
        walk->rc = error_set(walk->e, rc, "%s", why.text);
    }
    mem_free(cluster);
}

static void list_print(const json_t *json)
{
    size_t i;
    json_t *backup;
    (void)printf("%-32s  %-16s  %12s  %s\n", "CLUSTER", "MADE", "BYTES", "NAME");
    json_array_foreach(json_object_get(json, "backups"), i, backup) {
        const char *made = json_string_value(json_object_get(backup, "made"));
        (void)printf("%-32s  %-16s  %12lld  %s\n", json_string_value(json_object_get(backup, "cluster")),
                     made != NULL ? made : "damaged", json_integer_value(json_object_get(backup, "bytes")),
                     json_string_value(json_object_get(backup, "name")));
    }
}

int backup_list_run(const struct admin_options *options)
{
    struct s3_client client;
    struct error e = ERROR_INIT;
    struct backup_walk walk = { &client, json_array(), ERRC_OK, &e };
    enum errc rc = s3_client_init(&client, options->place, options->endpoint, &e);
    rc = rc == ERRC_OK ? s3_client_list(&client, "", on_key, &walk, &e) : rc;
    rc = rc == ERRC_OK ? walk.rc : rc;
    if (rc != ERRC_OK) {
        json_decref(walk.backups);
        return admin_fail(&e);
    }
    return admin_answer_print(options, json_pack("{s:o}", "backups", walk.backups), list_print);
}
