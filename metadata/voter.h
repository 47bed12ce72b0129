/*
 * voter - one voter of the metadata service: durable log with its mirrors, state machine, checkpoints.
 *
 * What it promises: a command answered OK is durable on every live mirror and applied; what a query sees includes every
 * command answered before. Steps, crash states and the lease argument: metadata/README.md.
 * With no mirror left, or too few DIRs to agree, it answers queries only, and looks every two seconds whether enough of
 * them came back. Thread: voter_open and voter_close from the owner; the channel and the functions below from any thread.
 * Memory: borrows env, factory and executors until voter_close has called back.
 */
#ifndef METADATA_VOTER_H
#define METADATA_VOTER_H

#include "common/base/env.h"
#include "common/base/id.h"
#include "common/base/kv.h"
#include "common/rpc/rpc.h"

#define VOTER_DIRS_MAX 64
#define VOTER_PATH_BYTES 1024
#define VOTER_MEMBERS_MAX 9
#define VOTER_NODE_TEXT_BYTES 40
#define VOTER_PENDING_BYTES_MAX (64u << 20) /* commands that wait; above: LIMIT */
#define VOTER_ENTRY_BYTES_MAX (1u << 20)    /* commands of one log entry, unless one alone is larger */

struct voter;

struct voter_dir {
    struct disk_id disk;
    const char *path; /* DIR */
};

/* How a voter reaches the others. Called on its executor. */
struct voter_peers {
    /* The channel to the voter of that node (as in raft_core_member); NULL: not known now. It lives as long as the voter. */
    struct rpc_channel *(*channel)(void *data, const char *node);
};

struct voter_config {
    struct env *env;
    struct kv_factory *kv_factory;
    struct executor *executor;     /* serial: the voter lives here; may block */
    struct executor *query_pool;   /* queries that must read a disk */
    struct cluster_id cluster;
    unsigned dir_count;            /* DIRs that are there now */
    const struct voter_dir *dirs;
    unsigned mirrors_wanted;       /* m + 1, or all where there are fewer; never fewer than recorded */
    bool bootstrap;                /* a new data set: no DIR has metadata */
    unsigned start_without_count;  /* DIRs (paths or disk ids) that the operator gives up for this start */
    const char *const *start_without;
    uint64_t checkpoint_log_bytes; /* 0: 64 MiB */
    uint64_t log_segment_bytes;    /* 0: 16 MiB, which is also the most */
    struct kv_options kv;          /* zeros: defaults */
    void (*on_event)(void *data, const char *event, const char *path, const char *text); /* for the log; may be NULL */
    void *data;
    const struct voter_peers *peers; /* NULL: alone, now and later. Borrowed */
    void *peers_data;
    const char *node;                /* with peers: this one's name to them */
    unsigned election_ms;            /* 0: 1,000. The same for all voters */
};

/* A voter that joins others: brings their state into DIR, which voter_open then opens. Nothing else is there yet, or what
 * an attempt before left. */
struct voter_seed_config {
    struct env *env;
    struct executor *executor;     /* serial; may block */
    struct rpc_channel *channel;   /* to the voter that leads */
    struct cluster_id cluster;
    struct voter_dir dir;
    uint64_t raft_id;              /* of this voter from now on: never used by another one of the cluster */
    void (*done)(void *data, enum errc rc, const struct error *e); /* UNAVAILABLE: try again later */
    void *data;
};
void voter_seed_start(const struct voter_seed_config *config);

/* Blocks until the state is replayed and requests are served.
 * Errors  NOT_FOUND no DIR has metadata; UNAVAILABLE half or more of the DIRs that the newest state counts are missing
 *         or unreadable (named in the text);
 *         CORRUPT every current mirror is damaged; FORMAT written by a newer program; IO. */
MUST_CHECK enum errc voter_open(const struct voter_config *config, struct voter **ret_voter, struct error *e);

/* What a voter has that is to go on alone. */
struct voter_recovery {
    uint64_t term, last_index; /* of its log: the one with the greatest, by term and then index, has the most */
};
/*
 * The majority of the quorum is lost for good: this voter, which is not open, becomes its only one, and what its log has is
 * decided. What only the others had is lost; should one of them come back with its old data there are two histories.
 * commit: false only looks. Errors: as voter_open; CONFLICT a checkpoint was being installed here.
 */
MUST_CHECK enum errc voter_recover(const struct voter_config *config, bool commit, struct voter_recovery *ret,
                                   struct error *e);
/* Serves META_* and RAFT_*. */
struct rpc_channel *voter_channel(struct voter *voter);
/* Another part of the program saw this disk fail: its mirror leaves. */
void voter_mirror_failed(struct voter *voter, struct disk_id disk, const char *reason);
/* `added` at `path` stands where `lost` stood (zeros: it is one more; the same id: that DIR came back). It is refilled in
 * the background and becomes a mirror if one is wanted. Its outcome is an event and in the status. */
void voter_mirror_replace(struct voter *voter, struct disk_id lost, struct disk_id added, const char *path);

struct voter_mirror_status {
    char path[VOTER_PATH_BYTES];
    const char *state; /* "current", "joining", "failed" */
    bool active;       /* the state store lies here */
};
struct voter_member_status {
    uint64_t id;
    char node[VOTER_NODE_TEXT_BYTES];
    bool votes, leads, self;
    uint64_t match_index; /* durable there as far as the leader knows; 0 elsewhere */
};
struct voter_status {
    bool leading, serving;     /* serving: leads, and answers queries */
    unsigned member_count;
    struct voter_member_status members[VOTER_MEMBERS_MAX];
    uint64_t term, commit_index, applied_index, generation;
    uint64_t log_bytes;        /* since the last checkpoint */
    uint64_t checkpoint_index;
    unsigned replicas_wanted, replicas_behind; /* mirrors of this voter and, where it leads, the other voters */
    unsigned mirror_count;
    struct voter_mirror_status mirrors[VOTER_DIRS_MAX];
};
/* What this voter's own state says, which may be old, and is there without a leader. UNAVAILABLE: no state is open. */
MUST_CHECK enum errc voter_query_own(struct voter *voter, struct slice query, struct enc *ret_reply, struct error *e);
bool voter_leads(struct voter *voter); /* now; queries are answered unless no state can be read */
bool voter_answers(struct voter *voter); /* leads now, and has a state to answer from */
void voter_status(struct voter *voter, struct voter_status *ret_status);
/*
 * Proves counters, references and indexes of what this voter has applied (metadata/machine_audit.h). Blocks the caller for
 * as long as reading the state takes: a thread of its own. It must have returned before voter_close.
 * Errors  UNAVAILABLE no state here now; those of machine_audit
 */
struct machine_audit;
struct audit_counts;
MUST_CHECK enum errc voter_audit(struct voter *voter, const struct machine_audit *audit, struct audit_counts *ret_counts,
                                 struct error *e);
/* Ends leading, if it does: it answers nothing as a leader any more, another voter is named, and done(data) runs on the
 * executor once this one leads no more, or after 1.5 s. A leader without another voter leads on. Not twice at a time. */
void voter_hand_over(struct voter *voter, void (*done)(void *data), void *data);
/* No call may be started after this. Waits for what is under way; done(data) on the executor. */
void voter_close(struct voter *voter, void (*done)(void *data), void *data);

#endif
