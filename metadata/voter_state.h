/* voter_state - the voter's own struct, shared by its files only: start, log, store, mirrors, service. */
#ifndef METADATA_VOTER_STATE_H
#define METADATA_VOTER_STATE_H

#include "metadata/checkpoint.h"
#include "metadata/machine.h"
#include "metadata/mirror.h"
#include "metadata/raft_core.h"
#include "metadata/voter.h"
#include "metadata/voter_session.h"
#include "metadata/voter_window.h"

#include <stdatomic.h>


/* OUT: a DIR in service without the log. It holds the state file of every generation all the same, so that more than
 * half of the counted DIRs always know the newest one. */
enum voter_mirror_state { MIRROR_OUT, MIRROR_LIVE, MIRROR_JOINING, MIRROR_FAILED };

struct voter_mirror {
    struct voter *voter;
    struct mirror mirror;
    char path[VOTER_PATH_BYTES];
    enum voter_mirror_state state; /* voter's executor */
    struct executor *executor;     /* its blocking work; NULL until first needed */
    struct task task;              /* one step at a time */
    enum errc rc;                  /* of that step */
    struct error error;
    bool condemned;                /* JOINING, and failed: leaves when its step ends */
    bool replaced;                 /* another DIR stands for it: it never comes back, and its place may be taken */
    bool holder;                   /* counted by the last durable generation */
    bool known;                    /* named by it: a DIR that was just added has no say in the next one */
    bool makes_folder;             /* the step may make DIR/metadata */
    bool copy_failed;              /* it could not take the checkpoint that was made last */
    struct error error_copy;
};

/* The state store: queries hold a reference while they read, so it can be replaced under them. */
struct voter_store {
    struct kv *kv;
    struct machine *machine;
    unsigned mirror;               /* index of the DIR that it lies in */
    atomic_uint references;
};

/* Another member, as seen from here. */
struct voter_peer {
    uint64_t id;                   /* raft's */
    uint64_t acked_ns;             /* when the latest message was sent that it took from this leader, in this term */
    uint64_t bytes;                /* of messages under way to it */
    unsigned calls;
};

struct voter_send;

enum voter_phase {
    PHASE_IDLE,
    PHASE_WRITING,  /* entries are at the mirrors */
    PHASE_FENCING,  /* a new generation is at the mirrors */
    PHASE_COPYING,  /* a joining mirror takes the log; nothing is written */
};

struct voter_replacement {
    struct disk_id lost;           /* zeros: none */
    struct mirror_dir added;
};

struct voter {
    struct rpc_channel channel;
    struct env *env;
    struct kv_factory *kv_factory;
    struct kv_options kv_options;
    struct executor *executor;
    struct executor *query_pool;
    struct executor *copier;       /* serial: checkpoints, joins */
    void (*on_event)(void *data, const char *event, const char *path, const char *text);
    void *event_data;

    struct mirror_state state;     /* as durable on the live mirrors, or being made so */
    unsigned mirror_count;
    struct voter_mirror mirrors[VOTER_DIRS_MAX];

    struct raft_core *core;
    const struct voter_peers *peers; /* NULL: alone, now and later */
    void *peers_data;
    uint64_t election_ms;
    struct voter_window window;    /* entries that are not applied; with peers also older ones */
    uint64_t durable_index;        /* of the log, on all live mirrors; the window may have more */
    uint64_t commit_index, applied_index, term;
    uint64_t hard_term, hard_vote; /* to be durable before what raft says in them is sent; differ from state's until then */
    struct raft_core_members members; /* as committed; likewise */
    uint8_t last_type;             /* of the last record; a COMMAND must not stay the last (voter_log.c "seal") */

    struct raft_core_update first_update; /* of the core when it was opened */
    bool leading;
    uint64_t leader_id;            /* 0: not known */
    uint64_t ready_index;          /* a new leader serves once it has applied this */
    _Atomic uint64_t lease_until_ns; /* queries are answered before this; 0: not the leader. UINT64_MAX: alone */
    uint64_t votes_from_ns;        /* after a start no vote is given before this: an older promise may still hold */
    struct voter_peer others[RAFT_MEMBERS_MAX];
    unsigned other_count;
    unsigned sends;                /* messages under way */
    struct voter_send *held_first, *held_last; /* messages that wait for hard_term and hard_vote */
    struct timer raft_timer;
    char node[RAFT_NODE_TEXT_BYTES]; /* this voter's name to others */

    /* a checkpoint of another voter (voter_snapshot.c) */
    bool fetching;
    struct rpc_channel *fetch_channel;
    struct task fetch_task;
    enum errc fetch_rc;
    struct error fetch_error;
    uint64_t fetched_index;
    struct raft_core_members fetched_members;
    uint64_t fetch_not_before_ns;
    uint64_t install_wanted;       /* index of the published checkpoint; 0: none */
    _Atomic uint64_t checkpoint_read_ns; /* when a voter last read this one's: a new one waits */
    struct task apply_task;        /* the rest of a long row of entries */
    bool apply_posted;
    bool seal_now;
    struct timer seal_timer;
    struct timer revive_timer;     /* dead: looks for DIRs that came back */
    bool rests;                    /* joins and store moves wait for rest_timer: their source failed */
    struct timer rest_timer;

    enum voter_phase phase;
    unsigned waiting;              /* mirrors that have not answered this phase */
    bool fence_wanted;             /* a mirror left: new generation before the next answer */
    unsigned holder_count;         /* DIRs that the last durable generation counts */
    unsigned known_count;          /* DIRs that it names */
    bool dead;                     /* no mirror, or the state can't be applied: only queries are answered */

    /* PHASE_WRITING, and a PHASE_FENCING that follows */
    bool write_under_way;
    struct enc records;
    uint64_t write_first, write_last; /* write_last falls when entries are replaced meanwhile */
    uint64_t written_index;        /* the mirrors' last record, under way included */
    uint32_t write_chain;          /* of the record before them */
    uint64_t write_cut;            /* not 0: the mirrors cut from here first */
    uint64_t cut_wanted;           /* not 0: for the next write */

    struct rpc_call *queue_first, *queue_last;
    uint64_t queue_bytes;

    atomic_flag store_lock;        /* of `store`: held for a pointer copy only */
    struct voter_store *store;
    struct voter_store *store_retired; /* dropped, until the last query has let go of it */

    uint64_t log_bytes;            /* since the last checkpoint */
    uint64_t checkpoint_log_bytes;
    uint64_t log_segment_bytes;
    bool roll_wanted;              /* the next entry begins a segment */
    uint64_t checkpoint_wanted;    /* one as soon as this index is applied; 0: none */
    struct checkpoint_info checkpoint;      /* newest, on all live mirrors */
    struct checkpoint_info checkpoint_next; /* being made */
    bool checkpointing;
    struct voter_store *checkpoint_store;
    bool checkpoint_target[VOTER_DIRS_MAX]; /* mirrors that it goes to */
    struct task copier_task;
    enum errc copier_rc;
    struct error copier_error;

    bool join_tried[VOTER_DIRS_MAX]; /* mirrors that it was already copied from, in vain */
    int joining;                   /* index of the mirror that joins, or -1 */
    bool join_ready;               /* its checkpoint is there: take the log as soon as no write is under way */
    int join_base;                 /* mirror that it is copied from */

    struct voter_leases leases;    /* begin anew when this voter begins to lead */
    uint64_t expired_look_ns;      /* not before */

    /* voter_mirror_replace, in order, each until the voter is idle */
    struct voter_replacement replacements[VOTER_DIRS_MAX];
    unsigned replacement_count;

    struct task start_task;
    struct task close_task;
    atomic_uint queries;           /* on the query pool */
    bool closing, close_posted;
    struct timer close_timer;
    bool yields;                   /* hands over, or ends: takes no command and answers no query as a leader */
    uint64_t yield_by_ns;
    struct task yield_task;
    void (*yield_done)(void *data);
    void *yield_data;
    void (*close_done)(void *data);
    void *close_data;

    atomic_flag status_lock;
    struct voter_status status;    /* guarded by status_lock */
};

/* voter_log.c */
void voter_advance(struct voter *voter); /* whatever can begin now: fence, join, next batch, checkpoint, close */
void voter_mirror_drop(struct voter *voter, unsigned index, const char *reason);
unsigned voter_live_count(const struct voter *voter);
unsigned voter_mirrors_wanted(const struct voter *voter);
int voter_live_first(const struct voter *voter);
bool voter_mirror_counted(const struct voter_mirror *mirror); /* gets the state of the next generation */
/* Index of the disk's DIR in the list; dir_count: it is not there. */
uint32_t voter_state_place(const struct mirror_state *state, struct disk_id disk);
/* May the DIRs that are counted now decide on a generation? At least half of those that the last durable one names, and
 * half of those that it counts: then no set of DIRs that may start can miss it (metadata/README.md "Generations"). */
bool voter_quorum(const struct voter *voter);
void voter_generation_done(struct voter *voter); /* it is durable */
void voter_generation_next(struct voter *voter); /* number, nonce and flags of the DIRs as they stand now */
void voter_mirror_init(struct voter_mirror *mirror, struct cluster_id cluster, struct disk_id disk, const char *path);
void voter_mirror_executor(struct voter_mirror *mirror);
void voter_free(struct voter *voter);
void voter_timers_init(struct voter *voter);
void voter_rest(struct voter *voter);

bool voter_idle(const struct voter *voter);
void voter_die(struct voter *voter, const char *text);
#define VOTER_AWAY_TEXT "too few of the directories that keep the metadata answer"
/* Not durable: the entry is at the window's end. NULL: raft does not take it, `e` says why. */
MUST_CHECK enum errc voter_submit(struct voter *voter, uint8_t type, const struct enc *data, struct error *e);

/* voter_apply.c */
void voter_apply(struct voter *voter); /* what is committed and durable */
void voter_calls_fail(struct rpc_call *call, enum errc status, const char *text);

/* voter_raft.c */
/* What raft decided: entries into the window, messages, who leads. `received`: the APPEND that it was about, or NULL;
 * `own`: data of an entry that was submitted. */
void voter_core_take(struct voter *voter, const struct raft_core_update *update, const struct core_message *received,
                     struct slice own);
void voter_messages_flush(struct voter *voter); /* those that wait, once they may be sent */
void voter_messages_drop(struct voter *voter);
void voter_raft_begin(struct voter *voter);     /* the core is open: its time runs */
void voter_raft_end(struct voter *voter);       /* its time stops */
void voter_lease_update(struct voter *voter);
void voter_on_message(struct rpc_call *call);   /* RAFT_MESSAGE, on the voter's executor */
void voter_leader_fill(struct voter *voter, struct enc *reply); /* a meta_leader */
void voter_refuse(struct voter *voter, struct rpc_call *call);  /* UNAVAILABLE, and who leads */
bool voter_yield(struct voter *voter); /* begins to hand over; false: it does not lead, or nobody else votes */
void voter_hand_over_look(struct voter *voter); /* is it done? */
/* Has another member lately taken what this leader sent, and has it nearly all that is committed? */
bool voter_peer_is_current(struct voter *voter, uint64_t id, uint64_t match_index);

/* voter_snapshot.c */
void voter_on_snapshot_read(struct voter *voter, struct rpc_call *call);
void voter_fetch_begin(struct voter *voter, const char *node); /* that leads; NULL: not known */

/* voter_member.c */
void voter_on_member(struct rpc_call *call); /* RAFT_MEMBER, on the voter's executor */

/* voter_start.c */
void voter_install(struct voter *voter); /* idle: the checkpoint install_wanted becomes the state */
void voter_revive(struct voter *voter); /* a start in place, if enough DIRs came back */
void voter_event(struct voter *voter, const char *event, const char *path, const char *text);

/* voter_store.c */
struct voter_store *voter_store_acquire(struct voter *voter);
void voter_store_release(struct voter_store *store);
/* Opens or restores the state in one of the live mirrors and replays up to `until`. */
MUST_CHECK enum errc voter_store_open(struct voter *voter, const struct log_contents *log, uint64_t until,
                                      struct error *e);
/* Queries get UNAVAILABLE from here on. False: one still reads; ask again later. */
bool voter_store_drop(struct voter *voter);
/* The active DIR is gone: the same elsewhere, reading the log from a live mirror. */
MUST_CHECK enum errc voter_store_move(struct voter *voter, uint64_t until, struct error *e);
/* Moves the store if it lies in a DIR that is no mirror any more; not while a checkpoint is being made. */
void voter_store_follow(struct voter *voter);
uint64_t voter_store_position(const struct voter_store *store); /* index of the last command applied */
MUST_CHECK enum errc voter_entry_apply(struct voter_store *store, uint64_t index, uint8_t type, struct slice data,
                                       struct enc *results, size_t *result_ends, size_t limit, struct error *e);

/* voter_copy.c */
void voter_checkpoint_begin(struct voter *voter);
void voter_join_begin(struct voter *voter);
void voter_join_copy_log(struct voter *voter);
void voter_join_abort(struct voter *voter);
void voter_replace_apply(struct voter *voter); /* the oldest replacement */

/* voter.c */
void voter_channel_init(struct voter *voter);
void voter_status_publish(struct voter *voter);

#endif
