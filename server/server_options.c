#include "server/server_options.h"

#include "common/base/assert.h"
#include "common/base/extent.h"
#include "common/base/storage_class.h"
#include "common/base/mem.h"
#include "common/rpc/cluster_messages.h"
#include "common/rpc/metadata_messages.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOMAIN_BYTES_MAX 253 /* of the DNS */
#define CERTIFICATE_LIFE_S_MIN 10
#define REPAIR_WAIT_S_DEFAULT 600
#define REPAIR_WAIT_S_MIN 5
#define REPAIR_WAIT_S_MAX (30 * 86400)
#define CERTIFICATE_LIFE_S_MAX (365ul * 86400)

typedef enum errc (*option_apply)(struct server_options *options, const char *value, struct error *e);

/* Where a row may stand. */
enum option_place { ANYWHERE, COMMAND_LINE, FILE_ONLY };

struct option_row {
    unsigned commands;    /* enum server_command, or-ed */
    const char *name;
    const char *argument; /* NULL: a switch */
    const char *help;     /* NULL: not shown, for tools/bench only */
    option_apply apply;
    enum option_place place;
    size_t list_count;    /* of a list: where its count stands in server_options; 0: one value */
};
#define ONE ANYWHERE, 0
#define LIST(field) ANYWHERE, offsetof(struct server_options, field)

enum errc server_address_parse(const char *text, struct server_address *ret_address, struct error *e)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0') {
        return error_set(e, ERRC_INVALID, "'%s' is not ADDR:PORT", text);
    }
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    size_t host_len = (size_t)(colon - text);
    const char *host = text;
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    if (*end != '\0' || port > UINT16_MAX || host_len >= SERVER_HOST_BYTES || colon[1] < '0' || colon[1] > '9') {
        return error_set(e, ERRC_INVALID, "'%s' is not ADDR:PORT", text);
    }
    struct server_address address = { .port = (uint16_t)port };
    if (host_len == 0) {
        (void)snprintf(address.host, sizeof(address.host), "0.0.0.0");
    } else {
        memcpy(address.host, host, host_len);
    }
    unsigned char binary[16];
    if (strcmp(address.host, "localhost") == 0) {
        (void)snprintf(address.host, sizeof(address.host), "127.0.0.1");
    }
    if (inet_pton(AF_INET, address.host, binary) != 1 && inet_pton(AF_INET6, address.host, binary) != 1) {
        return error_set(e, ERRC_INVALID, "'%s': the address must be numeric", text);
    }
    *ret_address = address;
    return ERRC_OK;
}

void server_address_text(const struct server_address *address, char ret_text[SERVER_ADDRESS_TEXT_BYTES])
{
    bool v6 = strchr(address->host, ':') != NULL;
    (void)snprintf(ret_text, SERVER_ADDRESS_TEXT_BYTES, "%s%s%s:%u", v6 ? "[" : "", address->host, v6 ? "]" : "",
                   address->port);
}

static enum errc apply_data(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    options->data = value;
    return ERRC_OK;
}

static enum errc apply_listen(struct server_options *options, const char *value, struct error *e)
{
    return server_address_parse(value, &options->listen, e);
}

/* An address that stands for all of a machine's: good to listen on, not to be reached at. */
static bool address_is_any(const struct server_address *address)
{
    return strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0;
}

static enum errc apply_advertise(struct server_options *options, const char *value, struct error *e)
{
    enum errc rc = server_address_parse(value, &options->advertise, e);
    if (rc == ERRC_OK && (options->advertise.port == 0 || address_is_any(&options->advertise))) {
        return error_set(e, ERRC_INVALID, "'%s' is no address that others could reach", value);
    }
    return rc;
}

/* ADDR:PORT,ADDR:PORT,... */
static enum errc apply_join(struct server_options *options, const char *value, struct error *e)
{
    for (const char *at = value; at != NULL;) {
        char text[SERVER_ADDRESS_TEXT_BYTES];
        const char *comma = strchr(at, ',');
        size_t len = comma != NULL ? (size_t)(comma - at) : strlen(at);
        if (options->join_count == SERVER_JOIN_MAX || len >= sizeof(text)) {
            return error_set(e, ERRC_INVALID, "'%s' is not a list of at most %d ADDR:PORT", value, SERVER_JOIN_MAX);
        }
        memcpy(text, at, len);
        text[len] = '\0';
        enum errc rc = server_address_parse(text, &options->join[options->join_count++], e);
        if (rc != ERRC_OK) {
            return rc;
        }
        at = comma != NULL ? comma + 1 : NULL;
    }
    return ERRC_OK;
}

static enum errc apply_token(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->token = value;
    options->token_file = NULL;
    return ERRC_OK;
}

/* Read when everything is known: a flag may name another. */
static enum errc apply_token_file(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    options->token = NULL;
    options->token_file = value;
    return ERRC_OK;
}

static enum errc apply_config(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    options->config = value;
    return ERRC_OK;
}

static enum errc apply_dir(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    if (options->dir_count == SERVER_DIRS_MAX) {
        return error_set(e, ERRC_INVALID, "at most %d directories", SERVER_DIRS_MAX);
    }
    options->dirs[options->dir_count++] = value;
    return ERRC_OK;
}

/* NULL is a flag without "=VALUE". */
static enum errc switch_parse(const char *value, bool *ret, struct error *e)
{
    static const char *const words[][2] = { { "yes", "no" }, { "true", "false" }, { "on", "off" } };
    for (size_t i = 0; value != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(value, words[i][0]) == 0 || strcmp(value, words[i][1]) == 0) {
            *ret = strcmp(value, words[i][0]) == 0;
            return ERRC_OK;
        }
    }
    if (value != NULL) {
        return error_set(e, ERRC_INVALID, "'%s' is not yes or no", value);
    }
    *ret = true;
    return ERRC_OK;
}

/* Zones, racks and names go into files of lines and into messages. */
static enum errc label_check(const char *value, const char **ret, struct error *e)
{
    size_t len = strlen(value);
    if (len == 0 || len > CLUSTER_NAME_BYTES_MAX ||
        strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != len) {
        return error_set(e, ERRC_INVALID, "'%s' is not 1 to %d letters, digits, '-', '_' and '.'", value,
                         CLUSTER_NAME_BYTES_MAX);
    }
    *ret = value;
    return ERRC_OK;
}

static enum errc apply_zone(struct server_options *options, const char *value, struct error *e)
{
    return label_check(value, &options->zone, e);
}

static enum errc apply_rack(struct server_options *options, const char *value, struct error *e)
{
    return label_check(value, &options->rack, e);
}

static enum errc apply_name(struct server_options *options, const char *value, struct error *e)
{
    return label_check(value, &options->name, e);
}

static enum errc apply_s3_listen(struct server_options *options, const char *value, struct error *e)
{
    return server_address_parse(value, &options->s3_listen, e);
}

static enum errc apply_admin_listen(struct server_options *options, const char *value, struct error *e)
{
    return server_address_parse(value, &options->admin_listen, e);
}

static enum errc apply_erasure(struct server_options *options, const char *value, struct error *e)
{
    enum errc rc = storage_class_code_parse(value, &options->erasure_k, &options->erasure_m, e);
    options->has_erasure = rc == ERRC_OK;
    return rc;
}

static enum errc apply_region(struct server_options *options, const char *value, struct error *e)
{
    size_t len = strlen(value);
    if (len == 0 || len > 32 || strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-") != len) {
        return error_set(e, ERRC_INVALID, "'%s' is not a region name", value);
    }
    options->region = value;
    return ERRC_OK;
}

static enum errc apply_any_region(struct server_options *options, const char *value, struct error *e)
{
    return switch_parse(value, &options->any_region, e);
}

static enum errc apply_domain(struct server_options *options, const char *value, struct error *e)
{
    if (options->domain_count == SERVER_DOMAINS_MAX) {
        return error_set(e, ERRC_INVALID, "at most %d domains", SERVER_DOMAINS_MAX);
    }
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    size_t len = strlen(value);
    if (len == 0 || len > DOMAIN_BYTES_MAX || strspn(value, allowed) != len || strchr(".-", value[0]) != NULL ||
        strchr(".-", value[len - 1]) != NULL) {
        return error_set(e, ERRC_INVALID, "'%s' is not a domain name", value);
    }
    options->domains[options->domain_count++] = value;
    return ERRC_OK;
}

static enum errc apply_tls_cert(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    options->tls_cert = value;
    return ERRC_OK;
}

static enum errc apply_tls_key(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    options->tls_key = value;
    return ERRC_OK;
}

static enum errc apply_start_without(struct server_options *options, const char *value, struct error *e)
{
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the path is empty");
    }
    if (options->start_without_count == SERVER_DIRS_MAX) {
        return error_set(e, ERRC_INVALID, "at most %d directories", SERVER_DIRS_MAX);
    }
    options->start_without[options->start_without_count++] = value;
    return ERRC_OK;
}

static enum errc apply_threads(struct server_options *options, const char *value, struct error *e)
{
    char *end = NULL;
    unsigned long threads = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || threads < 1 || threads > 256) {
        return error_set(e, ERRC_INVALID, "'%s' is not a number of threads from 1 to 256", value);
    }
    options->threads = (unsigned)threads;
    return ERRC_OK;
}

/* INLINE:COPIES, both in bytes. An experiment, for measuring the classes against each other (docs/OPERATIONS.md). */
static enum errc apply_small_classes(struct server_options *options, const char *value, struct error *e)
{
    char *end = NULL;
    unsigned long inline_bytes = strtoul(value, &end, 10);
    unsigned long copies_bytes = 0;
    bool ok = value[0] >= '0' && value[0] <= '9' && *end == ':' && end[1] >= '0' && end[1] <= '9';
    if (ok) {
        copies_bytes = strtoul(end + 1, &end, 10);
        ok = *end == '\0';
    }
    if (!ok || inline_bytes > INLINE_BYTES_MAX || copies_bytes > CELL_BYTES_MAX) {
        return error_set(e, ERRC_INVALID, "'%s' is not INLINE:COPIES, at most %u:%u bytes", value, INLINE_BYTES_MAX,
                         CELL_BYTES_MAX);
    }
    options->has_small_classes = true;
    options->inline_bytes_max = (uint32_t)inline_bytes;
    options->copies_bytes_max = (uint32_t)copies_bytes;
    return ERRC_OK;
}

static enum errc apply_metrics_auth(struct server_options *options, const char *value, struct error *e)
{
    return switch_parse(value, &options->metrics_auth, e);
}

static enum errc apply_accepts_data_loss(struct server_options *options, const char *value, struct error *e)
{
    return switch_parse(value, &options->accepts_data_loss, e);
}

static enum errc apply_from(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->from = value;
    return ERRC_OK;
}

static enum errc apply_endpoint(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->endpoint = value;
    return ERRC_OK;
}

static enum errc apply_backup(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->backup = value;
    return ERRC_OK;
}

static enum errc apply_help(struct server_options *options, const char *value, struct error *e)
{
    (void)value;
    (void)e;
    options->help = true;
    return ERRC_OK;
}

/* 30s, 12h, 90d; seconds. 0: none of these. */
static uint64_t duration_read(const char *value, uint32_t most_s)
{
    char *end;
    unsigned long number = value[0] >= '0' && value[0] <= '9' ? strtoul(value, &end, 10) : 0;
    unsigned long unit = number == 0 ? 0 : *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
    bool good = unit != 0 && end[1] == '\0' && number <= most_s && number * unit <= most_s;
    return good ? number * unit : 0;
}

static enum errc apply_certificate_life(struct server_options *options, const char *value, struct error *e)
{
    uint64_t seconds = duration_read(value, CERTIFICATE_LIFE_S_MAX);
    if (seconds < CERTIFICATE_LIFE_S_MIN) {
        return error_set(e, ERRC_INVALID, "'%s' is not a duration between 10s and 365d", value);
    }
    options->certificate_life_s = (uint32_t)seconds;
    return ERRC_OK;
}

static enum errc apply_repair_wait(struct server_options *options, const char *value, struct error *e)
{
    uint64_t seconds = duration_read(value, REPAIR_WAIT_S_MAX);
    if (seconds < REPAIR_WAIT_S_MIN) {
        return error_set(e, ERRC_INVALID, "'%s' is not a duration between 5s and 30d", value);
    }
    options->repair_wait_s = (uint32_t)seconds;
    return ERRC_OK;
}

#define ALL SERVER_ALL
#define FRONT (SERVER_ALL | SERVER_GATEWAY)
#define ROLES (SERVER_METADATA | SERVER_STORAGE_NODE | SERVER_GATEWAY)
#define PORTS (SERVER_METADATA | SERVER_STORAGE_NODE | SERVER_CLUSTER_INIT)
#define ADMIN (SERVER_ALL | SERVER_METADATA | SERVER_GATEWAY)

static const struct option_row rows[] = {
    { ROLES | SERVER_ONCE, "data", "DIR", "identity, certificate and key of this process; of a voter also its log\n"
                                                  "and state", apply_data, ONE },
    { PORTS, "listen", "ADDR:PORT", "where the other processes of the cluster reach this one", apply_listen, ONE },
    { PORTS, "advertise", "ADDR:PORT", "what they are told, if it differs from --listen", apply_advertise, ONE },
    { ROLES, "join", "ADDR:PORT,...", "metadata voters to ask; needed once, together with a token", apply_join, LIST(join_count) },
    { ROLES, "token", "TOKEN", "from 'cairn token create'; used once, then the certificate serves.\n"
                               "Other users of the machine see command lines; better:", apply_token, ONE },
    { ROLES, "token-file", "FILE", "a file that holds the token; it may be gone once it was used", apply_token_file, ONE },
    { ROLES | SERVER_CLUSTER_INIT, "name", "NAME", "shown in lists (default: role and id)", apply_name, ONE },
    { SERVER_METADATA, "certificate-life", "TIME", "how long certificates live that it issues from now on (default 90d,\n"
                                                   "at least 10s); they are renewed when a third is left",
      apply_certificate_life, ONE },
    { SERVER_METADATA, "repair-wait", "DURATION", "how long a silent node's disks are waited for before what they hold is\n"
                                                  "rebuilt elsewhere (default 10m, at least 5s)", apply_repair_wait, ONE },
    { SERVER_STORAGE_NODE, "zone", "NAME", "failure domain: no more than m shards of an extent in one zone", apply_zone, ONE },
    { SERVER_STORAGE_NODE, "rack", "NAME", "failure domain within the zone", apply_rack, ONE },
    { FRONT, "s3-listen", "ADDR:PORT", "where S3 is served (default 127.0.0.1:9000)", apply_s3_listen, ONE },
    { ADMIN, "admin-listen", "ADDR:PORT", "admin, health and metrics (default 127.0.0.1:9001)", apply_admin_listen, ONE },
    { ALL | SERVER_CLUSTER_INIT, "erasure", "K+M",
      "K data and M parity shards; any M disks may be lost. Recorded at\n"
      "the first start; given later, it holds for new buckets only", apply_erasure, ONE },
    { FRONT, "region", "NAME", "region that signatures must name (default us-east-1)", apply_region, ONE },
    { FRONT, "any-region", NULL, "accept signatures for every region", apply_any_region, ONE },
    { FRONT, "domain", "NAME", "base domain for virtual-hosted buckets; may be repeated", apply_domain, LIST(domain_count) },
    { FRONT, "tls-cert", "FILE", "serve https on both ports: certificate chain, PEM (reloaded on SIGHUP)", apply_tls_cert, ONE },
    { FRONT, "tls-key", "FILE", "its private key, PEM", apply_tls_key, ONE },
    { ALL, "start-without", "DIR", "start although half or more of the known directories are missing,\n"
                                   "naming each missing one; may be repeated", apply_start_without,
      LIST(start_without_count) },
    { FRONT, "threads", "N", "event loops that serve S3 (default: one for each core)", apply_threads, ONE },
    { ADMIN, "metrics-auth", NULL, "want signed requests for /metrics too", apply_metrics_auth, ONE },
    { ALL, "small-classes", "INLINE:COPIES", NULL, apply_small_classes, ONE },
    { ALL | SERVER_STORAGE_NODE, "dir", "DIR", NULL, apply_dir, FILE_ONLY, offsetof(struct server_options, dir_count) },
    { SERVER_CLUSTER_INIT, "from", "DIR", "make it of the data set of a 'cairn server', which is stopped: DIR and the\n"
                                          "further arguments are its directories", apply_from, COMMAND_LINE, 0 },
    { SERVER_METADATA_REBUILD, "from", "s3://BUCKET/PREFIX", "where the backups are", apply_from, COMMAND_LINE, 0 },
    { SERVER_METADATA_REBUILD, "endpoint", "URL", "of that S3 service: http(s)://HOST[:PORT]", apply_endpoint, COMMAND_LINE, 0 },
    { SERVER_METADATA_REBUILD, "backup", "NAME", "this one, as 'cairn metadata backups' names it (default: the newest)",
      apply_backup, COMMAND_LINE, 0 },
    { SERVER_METADATA_RECOVER | SERVER_METADATA_REBUILD, "i-accept-data-loss", NULL,
      "do it: what only the lost voters had is gone for good",
      apply_accepts_data_loss, COMMAND_LINE, 0 },
    { ALL | ROLES | SERVER_ONCE, "config", "FILE", "take what is not given here from this file (man cairn-config)", apply_config,
      COMMAND_LINE, 0 },
    { ALL | ROLES | SERVER_ONCE, "help", NULL, "print this text", apply_help, COMMAND_LINE, 0 },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct option_row *row_find(enum server_command command, const char *name, size_t len)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if ((rows[i].commands & command) != 0 && strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* One "--name", "--name value" or "--name=value", found but not applied; *at is moved behind it. */
static enum errc flag_parse(enum server_command command, int argc, char **argv, int *at, const struct option_row **ret_row,
                            const char **ret_value, struct error *e)
{
    const char *text = argv[(*at)++];
    if (strcmp(text, "-h") == 0) {
        text = "--help";
    }
    const char *equals = strchr(text, '=');
    size_t name_len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const struct option_row *row = name_len > 2 && text[1] == '-' ? row_find(command, text + 2, name_len - 2) : NULL;
    if (row == NULL || row->place == FILE_ONLY) {
        return error_set(e, ERRC_INVALID, "unknown option '%s'", text);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (row->argument == NULL && value != NULL && row->place == COMMAND_LINE) {
        return error_set(e, ERRC_INVALID, "--%s takes no value", row->name);
    }
    if (row->argument != NULL && value == NULL) {
        if (*at >= argc) {
            return error_set(e, ERRC_INVALID, "--%s wants %s", row->name, row->argument);
        }
        value = argv[(*at)++];
    }
    *ret_row = row;
    *ret_value = value;
    return ERRC_OK;
}

/* What stands nearer to the command line replaces a list as it replaces a value: the first of a level empties it. */
static enum errc row_apply(const struct option_row *row, const char *value, bool seen[], struct server_options *options,
                           struct error *e)
{
    if (row->list_count != 0 && !seen[row - rows]) {
        *(unsigned *)(void *)((char *)options + row->list_count) = 0;
    }
    seen[row - rows] = true;
    return row->apply(options, value, e);
}

/* Flags and DIRs. */
static enum errc line_apply(int argc, char **argv, struct server_options *options, struct error *e)
{
    bool seen[ROW_COUNT] = { false };
    bool only_dirs = false, dirs_seen = false;
    enum errc rc = ERRC_OK;
    for (int at = 1; rc == ERRC_OK && at < argc;) {
        const char *text = argv[at];
        if (!only_dirs && strcmp(text, "--") == 0) {
            only_dirs = true;
            at++;
        } else if (!only_dirs && text[0] == '-') {
            const struct option_row *row = NULL;
            const char *value = NULL;
            rc = flag_parse(options->command, argc, argv, &at, &row, &value, e);
            if (rc == ERRC_OK && row_apply(row, value, seen, options, e) != ERRC_OK) {
                rc = error_wrap(e, "--%s", row->name);
            }
        } else {
            options->dir_count = dirs_seen ? options->dir_count : 0;
            dirs_seen = true;
            rc = apply_dir(options, argv[at++], e);
        }
    }
    return rc;
}

struct section {
    const char *name;
    unsigned commands; /* whose keys may stand in it */
};

/* `cairn cluster init` makes the first voter, and reads its section. */
static const struct section sections[] = {
    { "common", ALL | ROLES | SERVER_ONCE },
    { "server", ALL },
    { "metadata", SERVER_METADATA | SERVER_ONCE },
    { "storage-node", SERVER_STORAGE_NODE },
    { "gateway", SERVER_GATEWAY },
};
#define SECTION_COUNT (sizeof(sections) / sizeof(sections[0]))

static const struct section *section_find(const char *name)
{
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (strcmp(sections[i].name, name) == 0) {
            return &sections[i];
        }
    }
    return NULL;
}

/* A key of this section, for whichever command: rows of one name differ by command only. */
static const struct option_row *key_find(const struct section *section, enum server_command command, const char *key)
{
    const struct option_row *row = row_find(command, key, strlen(key));
    for (unsigned bit = SERVER_ALL; row == NULL && bit <= SERVER_METADATA_REBUILD; bit <<= 1) {
        row = (section->commands & bit) != 0 ? row_find((enum server_command)bit, key, strlen(key)) : NULL;
    }
    return row != NULL && row->place != COMMAND_LINE && (row->commands & section->commands) != 0 ? row : NULL;
}

static struct server_options options_default(enum server_command command)
{
    return (struct server_options){
        .command = command,
        .s3_listen = { "127.0.0.1", 9000 },
        .admin_listen = { "127.0.0.1", 9001 },
        .region = "us-east-1",
        .repair_wait_s = REPAIR_WAIT_S_DEFAULT,
        .zone = "", .rack = "", .name = "",
    };
}

static enum errc entry_apply(const struct section *section, const struct option_entry *entry, bool seen[],
                             struct server_options *options, struct error *e)
{
    const struct option_row *row = key_find(section, options->command, entry->key);
    if (row == NULL) {
        return error_set(e, ERRC_INVALID, "%s:%u: unknown key '%s' in [%s]", options->config, entry->line, entry->key,
                         section->name);
    }
    if (row->list_count == 0 && seen[row - rows]) {
        return error_set(e, ERRC_INVALID, "%s:%u: '%s' stands in [%s] before", options->config, entry->line, entry->key,
                         section->name);
    }
    struct server_options other = options_default(options->command); /* of a role that shares the section: checked and dropped */
    bool is_ours = (row->commands & options->command) != 0;
    enum errc rc = row_apply(row, entry->value, seen, is_ours ? options : &other, e);
    return rc == ERRC_OK ? rc : error_wrap(e, "%s:%u: %s", options->config, entry->line, entry->key);
}

/* [common] first, then the section of the command, wherever they stand. Sections of other roles are not looked into. */
static enum errc file_apply(struct server_options *options, struct error *e)
{
    const struct option_file *file = &options->file;
    enum errc rc = ERRC_OK;
    for (unsigned pass = 0; pass < 2; pass++) {
        bool seen[ROW_COUNT] = { false };
        for (unsigned i = 0; rc == ERRC_OK && i < file->count; i++) {
            const struct option_entry *entry = &file->entries[i];
            const struct section *section = section_find(entry->section);
            if (section == NULL) {
                rc = error_set(e, ERRC_INVALID, "%s:%u: unknown section [%s]", options->config, entry->line, entry->section);
            } else if (entry->key != NULL && (section->commands & options->command) != 0 && (section == sections) == (pass == 0)) {
                rc = entry_apply(section, entry, seen, options, e);
            }
        }
    }
    return rc;
}

/* What a command cannot do without. */
static enum errc options_check(const struct server_options *options, struct error *e)
{
    bool joins = (options->command & ROLES) != 0;
    bool listens = (options->command & PORTS) != 0;
    bool needs_dirs = (options->command & (SERVER_ALL | SERVER_STORAGE_NODE)) != 0;
    bool takes_dirs = needs_dirs || (options->command == SERVER_CLUSTER_INIT && options->from != NULL);
    if ((options->tls_cert == NULL) != (options->tls_key == NULL)) {
        return error_set(e, ERRC_INVALID, "--tls-cert and --tls-key go together");
    }
    if (options->command == SERVER_CLUSTER_INIT && options->from != NULL && options->has_erasure) {
        return error_set(e, ERRC_INVALID, "--from and --erasure exclude each other: the data set has its code");
    }
    if (needs_dirs && options->dir_count == 0) {
        return error_set(e, ERRC_INVALID, "name at least one directory");
    }
    if (!takes_dirs && options->dir_count > 0) {
        return error_set(e, ERRC_INVALID, "unexpected argument '%s'", options->dirs[0]);
    }
    if ((joins || (options->command & SERVER_ONCE) != 0) && options->data == NULL) {
        return error_set(e, ERRC_INVALID, "--data DIR is needed: it keeps who this process is");
    }
    if (listens && options->listen.port == 0) {
        return error_set(e, ERRC_INVALID, "--listen ADDR:PORT is needed, with a port other than 0");
    }
    if (listens && options->advertise.port == 0 && address_is_any(&options->listen)) {
        return error_set(e, ERRC_INVALID, "--listen is every address of this machine: --advertise says at which one others reach it");
    }
    if (joins && (options->token != NULL || options->token_file != NULL) && options->join_count == 0) {
        return error_set(e, ERRC_INVALID, "a token goes together with --join: who is to be asked?");
    }
    return ERRC_OK;
}

/* The line is taken apart twice: for --config and --help, then over what the file said. */
static enum errc options_read(int argc, char **argv, struct server_options *options, struct error *e)
{
    struct server_options first = options_default(options->command);
    enum errc rc = line_apply(argc, argv, &first, e);
    options->help = first.help;
    if (rc != ERRC_OK || first.help) {
        return rc;
    }
    options->config = first.config;
    if (first.config != NULL) {
        rc = option_file_open(first.config, &options->file, e);
        rc = rc == ERRC_OK ? file_apply(options, e) : rc;
    }
    rc = rc == ERRC_OK ? line_apply(argc, argv, options, e) : rc;
    rc = rc == ERRC_OK ? options_check(options, e) : rc;
    if (rc == ERRC_OK && options->token_file != NULL) {
        rc = option_secret_read(options->token_file, &options->token_text, e);
        options->token = options->token_text;
        rc = rc == ERRC_OK ? rc : error_wrap(e, "token-file");
    }
    return rc;
}

enum errc server_options_parse(enum server_command command, int argc, char **argv, struct server_options *ret_options,
                               struct error *e)
{
    *ret_options = options_default(command);
    return options_read(argc, argv, ret_options, e);
}

void server_options_close(struct server_options *options)
{
    option_file_close(&options->file);
    if (options->token_text != NULL) {
        mem_wipe(options->token_text, strlen(options->token_text));
    }
    mem_free(options->token_text);
    options->token_text = NULL;
}

const char *server_options_key(enum server_command command, unsigned nth, const char **ret_argument)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        bool shown = rows[i].help != NULL || rows[i].place == FILE_ONLY;
        if (shown && rows[i].place != COMMAND_LINE && (rows[i].commands & command) != 0 && nth-- == 0) {
            *ret_argument = rows[i].argument;
            return rows[i].name;
        }
    }
    return NULL;
}

void server_erasure_default(unsigned dir_count, uint8_t *ret_k, uint8_t *ret_m)
{
    static const uint8_t codes[][2] = { { 1, 0 }, { 1, 1 }, { 2, 1 }, { 2, 2 }, { 3, 2 } };
    ASSERT(dir_count > 0);
    if (dir_count <= 5) {
        *ret_k = codes[dir_count - 1][0];
        *ret_m = codes[dir_count - 1][1];
    } else {
        *ret_k = dir_count < 12 ? 4 : 8;
        *ret_m = dir_count < 12 ? 2 : 4;
    }
}

/* A row's help, with continuation lines below the first. */
static void row_print(const struct option_row *row)
{
    char left[40];
    (void)snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument != NULL ? " " : "",
                   row->argument != NULL ? row->argument : "");
    (void)printf("  %-26s", left);
    for (const char *line = row->help; line != NULL;) {
        const char *end = strchr(line, '\n');
        (void)printf("%.*s\n", end != NULL ? (int)(end - line) : (int)strlen(line), line);
        line = end != NULL ? end + 1 : NULL;
        if (line != NULL) {
            (void)printf("%28s", "");
        }
    }
}

struct command_text {
    enum server_command command;
    const char *name;
    const char *before; /* the help's options stand between */
    const char *after;
};

static const struct command_text texts[] = {
    { SERVER_ALL, "server",
      "Usage: cairn server [OPTION]... DIR...\n"
      "Store and serve S3 objects on the given directories, each of them a disk.\n\n"
      "The first start writes a new data set into empty directories (made if absent); later\n"
      "starts find it again, the directories in any order. Directories added later join as\n"
      "new disks. Options:\n",
      "\nWithout --erasure the number of directories decides: 1 -> 1+0 (no redundancy),\n"
      "2 -> 1+1, 3 -> 2+1, 4 -> 2+2, 5 -> 3+2, 6 to 11 -> 4+2, 12 and more -> 8+4.\n\n"
      "Environment:\n"
      "  CAIRN_ROOT_ACCESS_KEY, CAIRN_ROOT_SECRET_KEY\n"
      "                            root credentials; generated and printed once at the first\n"
      "                            start where absent; different from the stored ones: rotated\n\n"
      "Signals: SIGTERM, SIGINT finish the requests under way, then exit 0; SIGHUP reloads TLS files.\n" },
    { SERVER_CLUSTER_INIT, "cluster init",
      "Usage: cairn cluster init --data DIR --listen ADDR:PORT [OPTION]...\n"
      "   or: cairn cluster init --data DIR --listen ADDR:PORT [OPTION]... --from DIR DIR...\n"
      "Make a new cluster: its certificate authority, its root credentials, its first metadata voter. With --from it has\n"
      "the buckets, objects and root credentials of a 'cairn server', whose directories become disks of its first node.\n\n"
      "Nothing runs afterwards; start the voter with 'cairn metadata --data DIR --listen ADDR:PORT'. Options:\n",
      "\nEnvironment:\n"
      "  CAIRN_ROOT_ACCESS_KEY, CAIRN_ROOT_SECRET_KEY\n"
      "                            root credentials; generated and printed once where absent\n" },
    { SERVER_METADATA, "metadata",
      "Usage: cairn metadata --data DIR --listen ADDR:PORT [--join ADDR:PORT,... --token-file FILE] [OPTION]...\n"
      "Run a voter of the metadata service. The first one is made by 'cairn cluster init'. Options:\n",
      "\nSignals: SIGTERM, SIGINT stop it in order, exit 0.\n" },
    { SERVER_METADATA_RECOVER, "metadata recover",
      "Usage: cairn metadata recover --data DIR --i-accept-data-loss\n"
      "The majority of a cluster's voters is lost for good: the voter of DIR, which must not run, goes on alone.\n\n"
      "Without --i-accept-data-loss it only says how far that voter's log goes. Ask each voter that is left, and take\n"
      "the one with the greatest term and then index. Options:\n",
      "\nWhat the lost voters had acknowledged and this one had not heard of is gone. Delete the lost voters' data:\n"
      "should they run again, there are two clusters. Then start this voter, and let others join.\n" },
    { SERVER_METADATA_REBUILD, "metadata rebuild",
      "Usage: cairn metadata rebuild --data DIR --from s3://BUCKET/PREFIX --endpoint URL --i-accept-data-loss\n"
      "All of a cluster's voters are lost: make one out of a backup of 'cairn metadata backup'.\n\n"
      "DIR holds the small files of one of the lost voters, of which you kept a copy: identity, node.key, node.pem,\n"
      "ca.pem, ca.key, credentials; and no folder 'metadata'. Without --i-accept-data-loss it only says which backup\n"
      "it would take. Options:\n",
      "\nEnvironment:\n"
      "  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_CA_BUNDLE\n"
      "                            of the bucket of the backups\n\n"
      "The metadata is as it was when the backup was made: objects that were deleted since are there and may be\n"
      "unreadable; of those that were written since 'cairn metadata salvage' brings most back. See docs/OPERATIONS.md.\n" },
    { SERVER_STORAGE_NODE, "storage-node",
      "Usage: cairn storage-node --data DIR --listen ADDR:PORT [--join ADDR:PORT,... --token-file FILE] [OPTION]... DISK...\n"
      "Keep shards on the given directories, each of them a disk. Options:\n",
      "\nSignals: SIGTERM, SIGINT stop it in order, exit 0.\n" },
    { SERVER_GATEWAY, "gateway",
      "Usage: cairn gateway --data DIR [--join ADDR:PORT,... --token-file FILE] [OPTION]...\n"
      "Serve S3 from a cluster. A gateway keeps no data; run as many as you like. Options:\n",
      "\nSignals: SIGTERM, SIGINT finish the requests under way, then exit 0; SIGHUP reloads TLS files.\n" },
};

static const struct command_text *text_find(enum server_command command)
{
    size_t i = 0;
    while (texts[i].command != command) {
        i++;
        ASSERT(i < sizeof(texts) / sizeof(texts[0]));
    }
    return &texts[i];
}

const char *server_command_name(enum server_command command)
{
    return text_find(command)->name;
}

void server_options_help(enum server_command command)
{
    const struct command_text *text = text_find(command);
    (void)printf("%s", text->before);
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].help != NULL && (rows[i].commands & command) != 0) {
            row_print(&rows[i]);
        }
    }
    (void)printf("%s", text->after);
}
