/*
 * admin_options - what every admin verb understands: --admin, --profile, --json, --help; and where its keys
 * come from: CAIRN_ACCESS_KEY and CAIRN_SECRET_KEY, else the profile file (lines `access_key = ...`,
 * `secret_key = ...`, `admin = ADDR:PORT`; default ~/.config/cairn/profile).
 */
#ifndef TOOLS_ADMIN_OPTIONS_H
#define TOOLS_ADMIN_OPTIONS_H

#include "common/base/error.h"

#include <stdbool.h>

#define ADMIN_TEXT_BYTES 256
#define ADMIN_ARGUMENTS_MAX 8
#define ADMIN_ADDRESSES_MAX 16

struct admin_options {
    char admins[ADMIN_ADDRESSES_MAX][ADMIN_TEXT_BYTES]; /* URL bases without a path: http://127.0.0.1:9001 */
    unsigned admin_count;               /* they are asked in turn until one answers */
    char access_key[ADMIN_TEXT_BYTES];
    char secret_key[ADMIN_TEXT_BYTES];
    bool json;
    bool help;
    bool dry_run;                       /* --dry-run, `node` only */
    const char *for_disk;               /* --for, `disk replace` only */
    const char *wait;                   /* --wait, `status` only */
    const char *version_id;             /* --version-id, `explain` only */
    const char *ca_file;                /* --ca, for https */
    const char *role;                   /* --role, `token create` only */
    const char *expires;                /* --expires, `token create` only */
    const char *bucket, *status;        /* --bucket, --status, `trace` only */
    const char *output;                 /* --output, `support bundle` only */
    bool partial, discard;              /* --partial, --discard, `metadata salvage` only */
    const char *place, *endpoint;       /* --to or --from, --endpoint, `metadata backup` and `backups` only */
    const char *arguments[ADMIN_ARGUMENTS_MAX];
    unsigned argument_count;
};

MUST_CHECK enum errc admin_options_parse(int argc, char **argv, struct admin_options *ret_options, struct error *e);

#endif
