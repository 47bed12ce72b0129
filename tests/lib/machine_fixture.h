/*
 * machine_fixture - a state machine over a map in memory, and short ways to say commands and queries.
 *
 * Results and replies live in the fixture's arena until fixture_close().
 */
#ifndef TESTS_LIB_MACHINE_FIXTURE_H
#define TESTS_LIB_MACHINE_FIXTURE_H

#include "common/base/arena.h"
#include "metadata/machine.h"

struct fixture {
    struct kv *kv;
    struct machine *machine;
    uint64_t index;       /* of the last command */
    uint64_t session;     /* open */
    uint64_t next_extent; /* counter of the next extent id */
    uint64_t clock_ms;    /* grows with every command that carries a time */
    struct arena arena;
    struct enc command, result;
};

void fixture_open(struct fixture *f);   /* with one open session */
void fixture_close(struct fixture *f);  /* ends the program if the audit finds anything */
void fixture_close_damaged(struct fixture *f); /* without looking */
void fixture_audit(struct fixture *f);  /* metadata/machine_audit.h: every counter, reference and index is right */
void fixture_reopen(struct fixture *f); /* closes the machine and opens the map again */

struct meta_result fixture_apply(struct fixture *f, const struct meta_command *cmd);
/* The encoded reply; the query must answer OK. */
struct slice fixture_query(struct fixture *f, const struct meta_query *query);

uint64_t fixture_bucket(struct fixture *f, const char *name, enum meta_versioning versioning);
struct meta_command fixture_put_inline(struct fixture *f, uint64_t bucket, struct slice key, struct slice bytes);
struct meta_result fixture_put(struct fixture *f, uint64_t bucket, const char *key, const char *bytes);
struct meta_result fixture_delete(struct fixture *f, uint64_t bucket, const char *key);
struct meta_result fixture_delete_version(struct fixture *f, uint64_t bucket, const char *key,
                                          struct meta_version_ref version);
struct extent fixture_extent(struct fixture *f, uint64_t bytes); /* 4+2, group 1, new id */
struct meta_object_reply fixture_get(struct fixture *f, const struct meta_query *query);
struct meta_object_reply fixture_head(struct fixture *f, uint64_t bucket, const char *key);
struct meta_status fixture_status(struct fixture *f);
struct meta_bucket fixture_bucket_get(struct fixture *f, uint64_t bucket);
struct meta_gc_reply fixture_gc(struct fixture *f);

/* A small generator with a seed (xorshift64*). */
uint64_t fixture_random(uint64_t *state);

#endif
