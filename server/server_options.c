#include "server/server_options.h"

#include "common/base/assert.h"
#include "common/base/extent.h"
#include "common/rpc/metadata_messages.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum errc (*option_apply)(struct server_options *options, const char *value, struct error *e);

struct option_row {
    const char *name;
    const char *argument; /* NULL: a switch */
    const char *help;     /* NULL: not shown, for tools/bench only */
    option_apply apply;
};

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
    char *end = NULL;
    unsigned long k = strtoul(value, &end, 10);
    unsigned long m = 0;
    bool ok = end != value && *end == '+' && end[1] >= '0' && end[1] <= '9';
    if (ok) {
        m = strtoul(end + 1, &end, 10);
        ok = *end == '\0';
    }
    if (!ok || k < 1 || k > CODE_K_MAX || m > CODE_M_MAX) {
        return error_set(e, ERRC_INVALID, "'%s' is not K+M with K from 1 to %d and M from 0 to %d", value, CODE_K_MAX,
                         CODE_M_MAX);
    }
    if (m == 0 && k > 1) {
        return error_set(e, ERRC_INVALID, "'%s' has no redundancy: only 1+0, on one directory, may go without", value);
    }
    options->has_erasure = true;
    options->erasure_k = (uint8_t)k;
    options->erasure_m = (uint8_t)m;
    return ERRC_OK;
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
    (void)value;
    (void)e;
    options->any_region = true;
    return ERRC_OK;
}

static enum errc apply_domain(struct server_options *options, const char *value, struct error *e)
{
    if (options->domain_count == SERVER_DOMAINS_MAX) {
        return error_set(e, ERRC_INVALID, "at most %d domains", SERVER_DOMAINS_MAX);
    }
    if (*value == '\0') {
        return error_set(e, ERRC_INVALID, "the domain is empty");
    }
    options->domains[options->domain_count++] = value;
    return ERRC_OK;
}

static enum errc apply_tls_cert(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->tls_cert = value;
    return ERRC_OK;
}

static enum errc apply_tls_key(struct server_options *options, const char *value, struct error *e)
{
    (void)e;
    options->tls_key = value;
    return ERRC_OK;
}

static enum errc apply_start_without(struct server_options *options, const char *value, struct error *e)
{
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

/* INLINE:COPIES, both in bytes. */
static enum errc apply_small_classes(struct server_options *options, const char *value, struct error *e)
{
    char *end = NULL;
    unsigned long inline_bytes = strtoul(value, &end, 10);
    unsigned long copies_bytes = 0;
    bool ok = end != value && *end == ':' && end[1] >= '0' && end[1] <= '9';
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
    (void)value;
    (void)e;
    options->metrics_auth = true;
    return ERRC_OK;
}

static enum errc apply_help(struct server_options *options, const char *value, struct error *e)
{
    (void)value;
    (void)e;
    options->help = true;
    return ERRC_OK;
}

static const struct option_row rows[] = {
    { "s3-listen", "ADDR:PORT", "where S3 is served (default 127.0.0.1:9000)", apply_s3_listen },
    { "admin-listen", "ADDR:PORT", "admin, health and metrics (default 127.0.0.1:9001)", apply_admin_listen },
    { "erasure", "K+M", "K data and M parity shards; any M disks may be lost. Recorded at\n"
                        "the first start; given later, it holds for new buckets only", apply_erasure },
    { "region", "NAME", "region that signatures must name (default us-east-1)", apply_region },
    { "any-region", NULL, "accept signatures for every region", apply_any_region },
    { "domain", "NAME", "base domain for virtual-hosted buckets; may be repeated", apply_domain },
    { "tls-cert", "FILE", "serve https on both ports: certificate chain, PEM (reloaded on SIGHUP)", apply_tls_cert },
    { "tls-key", "FILE", "its private key, PEM", apply_tls_key },
    { "start-without", "DIR", "start although half or more of the known directories are missing,\n"
                              "naming each missing one; may be repeated", apply_start_without },
    { "threads", "N", "event loops that serve S3 (default: one for each core)", apply_threads },
    { "metrics-auth", NULL, "want signed requests for /metrics too", apply_metrics_auth },
    { "small-classes", "INLINE:COPIES", NULL, apply_small_classes },
    { "help", NULL, "print this text", apply_help },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct option_row *row_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* One "--name", "--name value" or "--name=value"; *at is moved behind it. */
static enum errc option_parse(int argc, char **argv, int *at, struct server_options *options, struct error *e)
{
    const char *text = argv[(*at)++];
    if (strcmp(text, "-h") == 0) {
        text = "--help";
    }
    const char *equals = strchr(text, '=');
    size_t name_len = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const struct option_row *row = name_len > 2 && text[1] == '-' ? row_find(text + 2, name_len - 2) : NULL;
    if (row == NULL) {
        return error_set(e, ERRC_INVALID, "unknown option '%s'", text);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (row->argument == NULL && value != NULL) {
        return error_set(e, ERRC_INVALID, "--%s takes no value", row->name);
    }
    if (row->argument != NULL && value == NULL) {
        if (*at >= argc) {
            return error_set(e, ERRC_INVALID, "--%s wants %s", row->name, row->argument);
        }
        value = argv[(*at)++];
    }
    enum errc rc = row->apply(options, value, e);
    return rc == ERRC_OK ? rc : error_wrap(e, "--%s", row->name);
}

enum errc server_options_parse(int argc, char **argv, struct server_options *ret_options, struct error *e)
{
    struct server_options options = {
        .s3_listen = { "127.0.0.1", 9000 },
        .admin_listen = { "127.0.0.1", 9001 },
        .region = "us-east-1",
    };
    bool only_dirs = false;
    for (int at = 1; at < argc;) {
        const char *text = argv[at];
        if (!only_dirs && strcmp(text, "--") == 0) {
            only_dirs = true;
            at++;
        } else if (!only_dirs && text[0] == '-') {
            enum errc rc = option_parse(argc, argv, &at, &options, e);
            if (rc != ERRC_OK) {
                return rc;
            }
        } else if (options.dir_count == SERVER_DIRS_MAX) {
            return error_set(e, ERRC_INVALID, "at most %d directories", SERVER_DIRS_MAX);
        } else {
            options.dirs[options.dir_count++] = argv[at++];
        }
    }
    if ((options.tls_cert == NULL) != (options.tls_key == NULL)) {
        return error_set(e, ERRC_INVALID, "--tls-cert and --tls-key go together");
    }
    if (options.dir_count == 0 && !options.help) {
        return error_set(e, ERRC_INVALID, "name at least one directory");
    }
    *ret_options = options;
    return ERRC_OK;
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

void server_options_help(void)
{
    (void)printf("Usage: cairn server [OPTION]... DIR...\n"
                 "Store and serve S3 objects on the given directories, each of them a disk.\n\n"
                 "The first start writes a new data set into empty directories (made if absent); later\n"
                 "starts find it again, the directories in any order. Directories added later join as\n"
                 "new disks. Options:\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].help != NULL) {
            row_print(&rows[i]);
        }
    }
    (void)printf("\nWithout --erasure the number of directories decides: 1 -> 1+0 (no redundancy),\n"
                 "2 -> 1+1, 3 -> 2+1, 4 -> 2+2, 5 -> 3+2, 6 to 11 -> 4+2, 12 and more -> 8+4.\n\n"
                 "Environment:\n"
                 "  CAIRN_ROOT_ACCESS_KEY, CAIRN_ROOT_SECRET_KEY\n"
                 "                            root credentials; generated and printed once at the first\n"
                 "                            start where absent; different from the stored ones: rotated\n\n"
                 "Signals: SIGTERM, SIGINT finish the requests under way, then exit 0; SIGHUP reloads TLS files.\n");
}
