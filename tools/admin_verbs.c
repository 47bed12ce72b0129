#include "tools/admin.h"

#include "common/base/mem.h"
#include "tools/admin_format.h"
#include "tools/admin_run.h"
#include "tools/backup_verb.h"
#include "tools/salvage_verb.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MINUTES_DEFAULT 60

static void format_bucket_class(const json_t *json)
{
    (void)printf("What is written into '%s' without a storage class is %s from now on; what is there stays as it is.\n",
                 json_string_value(json_object_get(json, "bucket")), json_string_value(json_object_get(json, "erasure")));
}

static int bucket_class(const struct admin_options *options)
{
    json_t *body = json_pack("{s:s,s:s}", "bucket", options->arguments[1], "class", options->arguments[2]);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", "/admin/v1/buckets/class", text, format_bucket_class)
                              : admin_usage_fail("a name is not valid UTF-8");
    free(text);
    return status;
}

int admin_bucket_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn bucket list [OPTION]...\n"
                     "   or: cairn bucket class BUCKET CLASS [OPTION]...\n"
                     "list   buckets with their object and byte counters\n"
                     "class  give what is written into the bucket from now on, without a storage class of its own, that class's code\n"
                     "       ('cairn class list'; STANDARD: the code of new buckets)\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count == 3 && strcmp(options.arguments[0], "class") == 0) {
        return bucket_class(&options);
    }
    if (options.argument_count != 1 || strcmp(options.arguments[0], "list") != 0) {
        return admin_usage_fail("usage: cairn bucket list | class BUCKET CLASS");
    }
    return admin_request_print(&options, "GET", "/admin/v1/buckets", NULL, format_buckets);
}

int admin_explain_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn explain BUCKET KEY [--version-id ID] [OPTION]...\n"
                     "Show where an object's bytes lie: placement, shards, checksums, each shard read and checked.\n%s",
                     admin_common_help);
        return 0;
    }
    if (options.argument_count != 2) {
        return admin_usage_fail("usage: cairn explain BUCKET KEY");
    }
    char *bucket = curl_easy_escape(NULL, options.arguments[0], 0);
    char *key = curl_easy_escape(NULL, options.arguments[1], 0);
    char *version = options.version_id != NULL ? curl_easy_escape(NULL, options.version_id, 0) : NULL;
    char *target = mem_format("/admin/v1/explain?bucket=%s&key=%s%s%s", bucket, key,
                              version != NULL ? "&version-id=" : "", version != NULL ? version : "");
    int status = admin_request_print(&options, "GET", target, NULL, format_explain);
    mem_free(target);
    curl_free(version);
    curl_free(key);
    curl_free(bucket);
    return status;
}

int admin_token_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn token create --role storage-node|gateway|metadata [--expires MINUTES] [OPTION]...\n"
                     "Make a token with which one process of that role can join the cluster, once (default: within\n"
                     "60 minutes). It is shown only now. Give it as --token to 'cairn storage-node', 'cairn gateway' or\n"
                     "'cairn metadata'.\n%s", admin_common_help);
        return 0;
    }
    if (options.argument_count != 1 || strcmp(options.arguments[0], "create") != 0 || options.role == NULL) {
        return admin_usage_fail("usage: cairn token create --role storage-node|gateway|metadata [--expires MINUTES]");
    }
    char *end = NULL;
    unsigned long minutes = options.expires != NULL ? strtoul(options.expires, &end, 10) : TOKEN_MINUTES_DEFAULT;
    if (options.expires != NULL && (end == options.expires || *end != '\0')) {
        return admin_usage_fail("--expires wants a number of minutes");
    }
    json_t *body = json_pack("{s:s,s:I}", "role", options.role, "expires_minutes", (json_int_t)minutes);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text == NULL) {
        return admin_usage_fail("--role wants storage-node, gateway or metadata");
    }
    int status = admin_request_print(&options, "POST", "/admin/v1/tokens", text, format_token);
    free(text);
    return status;
}

/* The state that a verb puts a node into; NULL: no such verb. */
static const char *node_state_of(const char *verb)
{
    static const char *const verbs[][2] = { { "drain", "draining" }, { "maintenance", "maintenance" }, { "in", "in" },
                                            { "remove", "removed" } };
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i][0], verb) == 0) {
            return verbs[i][1];
        }
    }
    return NULL;
}

static int node_change(const struct admin_options *options, const char *state)
{
    json_t *body = json_pack("{s:s,s:s,s:b}", "node", options->arguments[1], "state", state, "dry_run", options->dry_run);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", "/admin/v1/nodes/state", text, format_node_state)
                              : admin_usage_fail("the name is not valid UTF-8");
    free(text);
    return status;
}

int admin_node_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn node list [OPTION]...\n"
                     "   or: cairn node drain|maintenance|in|remove NAME|ID [--dry-run] [OPTION]...\n"
                     "List the processes of the cluster: role, address, failure domains, when last heard of.\n"
                     "drain        take no new shards, and move those that a storage node has to others\n"
                     "maintenance  do not rebuild what it has while it is away\n"
                     "in           end either\n"
                     "remove       take out for good a node that is stopped and on which no shard stands\n"
                     "With --dry-run nothing is changed: it says what would be moved, or why it is refused.\n%s",
                     admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count > 0 ? options.arguments[0] : "";
    if (strcmp(verb, "list") == 0 && options.argument_count == 1) {
        return admin_request_print(&options, "GET", "/admin/v1/nodes", NULL, format_nodes);
    }
    if (node_state_of(verb) != NULL && options.argument_count == 2) {
        return node_change(&options, node_state_of(verb));
    }
    return admin_usage_fail("usage: cairn node list | drain NAME | maintenance NAME | in NAME | remove NAME");
}

static int metadata_change(const struct admin_options *options, const char *verb)
{
    char *target = mem_format("/admin/v1/metadata/%s", verb);
    json_t *body = json_pack("{s:s}", "node", options->arguments[1]);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    int status = text != NULL ? admin_request_print(options, "POST", target, text, format_member)
                              : admin_usage_fail("the name is not valid UTF-8");
    free(text);
    mem_free(target);
    return status;
}

int admin_metadata_run(int argc, char **argv)
{
    struct admin_options options;
    struct error e = ERROR_INIT;
    if (admin_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        return admin_fail(&e);
    }
    if (options.help) {
        (void)printf("Usage: cairn metadata list [OPTION]...\n"
                     "   or: cairn metadata promote NAME|ID [OPTION]...\n"
                     "   or: cairn metadata remove NAME|ID [OPTION]...\n"
                     "   or: cairn metadata backup --to s3://BUCKET/PREFIX --endpoint URL [OPTION]...\n"
                     "   or: cairn metadata backups --from s3://BUCKET/PREFIX --endpoint URL [--json]\n"
                     "   or: cairn metadata salvage [--partial] [--discard] [OPTION]...\n"
                     "List who takes part in the metadata service; make a stand-by a voter once it has the whole log; take\n"
                     "a voter or stand-by out. Have 3 or 5 voters: of 3 one may be lost, of 5 two. The process itself is run\n"
                     "by 'cairn metadata --data DIR', see 'cairn metadata --help'.\n"
                     "backup puts the metadata as it is now into a bucket of any S3 service (files that it has are not sent\n"
                     "again), backups shows what is there; keys of that bucket: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,\n"
                     "AWS_REGION. What to do with one: 'cairn metadata rebuild --help'.\n"
                     "salvage brings objects back that were written after the backup of a rebuild, from what their shards say;\n"
                     "with --partial although disks are away, which are then taken for lost; with --discard the space of what is\n"
                     "left afterwards is freed.\n%s", admin_common_help);
        return 0;
    }
    const char *verb = options.argument_count > 0 ? options.arguments[0] : "";
    if (strcmp(verb, "list") == 0 && options.argument_count == 1) {
        return admin_request_print(&options, "GET", "/admin/v1/metadata", NULL, format_members);
    }
    if ((strcmp(verb, "promote") == 0 || strcmp(verb, "remove") == 0) && options.argument_count == 2) {
        return metadata_change(&options, verb);
    }
    if (strcmp(verb, "backup") == 0 && options.argument_count == 1 && options.place != NULL) {
        return backup_make_run(&options);
    }
    if (strcmp(verb, "backups") == 0 && options.argument_count == 1 && options.place != NULL) {
        return backup_list_run(&options);
    }
    if (strcmp(verb, "salvage") == 0 && options.argument_count == 1) {
        return salvage_run(&options);
    }
    return admin_usage_fail("usage: cairn metadata list | promote NAME | remove NAME | salvage | backup --to s3://BUCKET/PREFIX |\n"
                            "       backups --from s3://BUCKET/PREFIX; or --data DIR ... to run one");
}
