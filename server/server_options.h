/*
 * server_options - the command lines and the configuration file of `cairn server` and of the roles of a cluster: one table
 * that parses them and prints their help. A row says which commands take it, and is a key of the configuration file too
 * (docs/CONFIGURATION.md).
 */
#ifndef SERVER_SERVER_OPTIONS_H
#define SERVER_SERVER_OPTIONS_H

#include "common/base/error.h"
#include "server/option_file.h"

#include <stdbool.h>
#include <stdint.h>

#define SERVER_DIRS_MAX 64    /* disks of one process */
#define SERVER_DOMAINS_MAX 16
#define SERVER_HOST_BYTES 64

struct server_address {
    char host[SERVER_HOST_BYTES]; /* numeric IPv4 or IPv6 address, without brackets */
    uint16_t port;
};

enum server_command {
    SERVER_ALL = 1,          /* cairn server: every role in one process */
    SERVER_METADATA = 2,
    SERVER_STORAGE_NODE = 4,
    SERVER_GATEWAY = 8,
    SERVER_CLUSTER_INIT = 16, /* cairn cluster init: the first voter, once */
    SERVER_METADATA_RECOVER = 32, /* cairn metadata recover: one voter goes on without the others, once */
    SERVER_METADATA_REBUILD = 64, /* cairn metadata rebuild: a voter out of a backup, once */
};
#define SERVER_ONCE (SERVER_CLUSTER_INIT | SERVER_METADATA_RECOVER | SERVER_METADATA_REBUILD) /* nothing runs afterwards */
#define SERVER_JOIN_MAX 16

struct server_options {
    enum server_command command;
    /* of the roles of a cluster */
    const char *data;                /* folder of identity, certificate and key */
    struct server_address listen;    /* where other processes reach this one; port 0: not given */
    struct server_address advertise; /* what they are told, where it differs */
    struct server_address join[SERVER_JOIN_MAX]; /* voters to ask */
    unsigned join_count;
    const char *token;
    const char *token_file;          /* where it was to be found; token is NULL if the file is gone */
    const char *zone, *rack, *name;  /* empty: not given */
    uint32_t certificate_life_s;     /* of what a voter issues; 0: not given */
    bool accepts_data_loss;          /* --i-accept-data-loss */
    const char *from, *endpoint, *backup; /* of a rebuild: s3://BUCKET/PREFIX (of an init: a DIR), URL, a name; NULL: not given */
    uint32_t repair_wait_s;          /* how long a voter waits for a disk before it gives it up */
    /* of all */
    struct server_address s3_listen;
    struct server_address admin_listen;
    bool has_erasure;
    uint8_t erasure_k, erasure_m;
    const char *region;
    bool any_region;
    const char *domains[SERVER_DOMAINS_MAX];
    unsigned domain_count;
    const char *tls_cert, *tls_key;  /* NULL: plain http */
    const char *start_without[SERVER_DIRS_MAX];
    unsigned start_without_count;
    unsigned threads;                /* S3 loops; 0: one per core */
    bool metrics_auth;               /* /metrics wants a signature too */
    bool has_small_classes;          /* --small-classes: for measurements, not shown by --help */
    uint32_t inline_bytes_max;       /* objects up to here ride in the metadata record */
    uint32_t copies_bytes_max;       /* objects up to here are 1+m whole copies */
    const char *dirs[SERVER_DIRS_MAX]; /* of SERVER_ALL and SERVER_STORAGE_NODE */
    unsigned dir_count;
    const char *config;              /* NULL: none */
    bool help;
    struct option_file file;         /* owned, as is the next: texts above point into them */
    char *token_text;
};

/* Borrows argv, whose first text is the command's last word. ERRC_INVALID with a text for a person, that begins with
 * FILE:LINE where a file is at fault. What it gives wants server_options_close(), also after an error. */
MUST_CHECK enum errc server_options_parse(enum server_command command, int argc, char **argv,
                                          struct server_options *ret_options, struct error *e);
void server_options_close(struct server_options *options);

/* The nth (from 0) key that a command's section of the configuration file takes; NULL: there are no more. `ret_argument` is
 * NULL for a switch. Keys for measurements are left out. */
const char *server_options_key(enum server_command command, unsigned nth, const char **ret_argument);
void server_options_help(enum server_command command);
const char *server_command_name(enum server_command command); /* "server", "storage-node", ... */

/* "127.0.0.1:9000", "[::1]:9000", ":9000" (all interfaces). */
MUST_CHECK enum errc server_address_parse(const char *text, struct server_address *ret_address, struct error *e);

/* "ADDR:PORT", IPv6 in brackets. */
#define SERVER_ADDRESS_TEXT_BYTES (SERVER_HOST_BYTES + 9)
void server_address_text(const struct server_address *address, char ret_text[SERVER_ADDRESS_TEXT_BYTES]);

/* Can the address be listened on? Nothing stays open. */
MUST_CHECK enum errc server_address_probe(const struct server_address *address, struct error *e);

/* The code for a number of DIRs where none is asked for: 1 -> 1+0, 2 -> 1+1, 3 -> 2+1, 4 -> 2+2, 5 -> 3+2,
 * 6 to 11 -> 4+2, 12 and more -> 8+4. */
void server_erasure_default(unsigned dir_count, uint8_t *ret_k, uint8_t *ret_m);

#endif
