/*
 * metadata_client - typed calls to the metadata service: one struct meta_op for each call.
 *
 * A command or query is encoded before the starting call returns, so what it points to may go away.
 * The answer is decoded into the op (arrays in the op's arena; slices borrow the reply) and stays
 * valid until meta_op_release(). status OK means "decided": look at the outcome of the answer.
 * Thread: start from any thread; done runs on op->executor, once, never inside the starting call.
 * Memory: the op is the caller's; left alone until done, then released by meta_op_release().
 */
#ifndef GATEWAY_DATA_METADATA_CLIENT_H
#define GATEWAY_DATA_METADATA_CLIENT_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc.h"

#include <stdatomic.h>

#define METADATA_VOTERS_MAX 9

struct metadata_voter {
    struct node_id node;
    struct rpc_channel *channel;    /* borrowed until the client is done */
};

struct metadata_failover;

struct metadata_client {
    struct rpc_channel *channel;
    struct metadata_failover *failover; /* NULL: one channel, every call is tried once */
    struct env *env;
    uint64_t timeout_ms;            /* deadline of calls whose op gives none; 0: none */
    _Atomic uint64_t index_seen;    /* highest log index of any answer: lower bound of the applied state */
};

struct meta_op {
    /* set by the caller */
    struct executor *executor;
    struct arena *arena;            /* for decoded arrays; may be NULL where the answer has none (results) */
    uint64_t deadline_ns;           /* env_now_ns base; 0: the client's default */
    void (*done)(struct meta_op *op);
    void *data;

    /* set before done */
    enum errc status;               /* OK, or as metadata_messages.h says; CORRUPT: the answer makes no sense */
    struct error error;
    union {                         /* by command or query */
        struct meta_result result;           /* every command */
        struct meta_object_reply object;     /* OBJECT, EXTENTS */
        struct meta_list_reply list;         /* LIST, LIST_VERSIONS */
        struct meta_uploads_reply uploads;   /* LIST_UPLOADS, UPLOAD */
        struct meta_parts_reply parts;       /* LIST_PARTS */
        struct meta_buckets_reply buckets;   /* BUCKETS, BUCKET (count 0: there is none) */
        struct meta_extent_reply extent;     /* EXTENT */
        struct meta_exist_reply exist;       /* EXTENTS_EXIST */
        struct meta_gc_reply gc;             /* GC */
        struct meta_repair_reply repair;     /* REPAIR, GROUP_EXTENTS, EXTENT_ROWS */
        struct meta_sessions_reply sessions; /* SESSIONS */
        struct meta_cluster_reply cluster;   /* CLUSTER */
        struct meta_identities_reply identities;
        struct meta_setting_reply setting;
        struct meta_status service_status;   /* STATUS */
        struct meta_tokens_reply tokens;     /* TOKENS */
        uint64_t session_horizon;            /* meta_session_renew */
    };

    /* the client's */
    struct metadata_client *client;
    struct rpc_call call;
    struct enc head;
    struct timer pause;             /* metadata_failover.c's, from here to `unknown` */
    uint64_t until_ns;
    uint32_t attempt_ms, pause_ms;
    uint16_t tried, silent;         /* bits of voters: asked in this round; gave no answer in time */
    uint16_t rounds;
    uint16_t place;                 /* of its name, + 1; 0: none */
    uint8_t voter;
    bool hinted, unknown;
    uint8_t kind;                   /* enum meta_query_type; 0: command; 0xff: renew */
};

void metadata_client_init(struct metadata_client *client, struct rpc_channel *channel, struct env *env,
                          uint64_t timeout_ms);
/*
 * From now on (before the first call, and again whenever the voters change) calls go to the voter that leads, wherever it
 * is, and are repeated until the op's deadline: queries and renewals always, commands under a name, so that they are done
 * once. Ends with TIMEOUT where a command may have been done, else with UNAVAILABLE; LIMIT: more than 4,096 commands under
 * way. The executors of ops must be serial.
 * on_unknown   may be NULL; told (on an op's executor) of a leader that is not in the list: time to ask for the voters
 */
void metadata_client_voters(struct metadata_client *client, const struct metadata_voter *voters, unsigned count,
                            void (*on_unknown)(void *data, const struct meta_leader *leader), void *data);
/* This process ends: calls are not repeated for longer than to end_ns (env_now_ns base). */
void metadata_client_hurry(struct metadata_client *client, uint64_t end_ns);
void metadata_client_done(struct metadata_client *client); /* no call is under way */
/* Clears the caller's and result fields. */
void meta_op_init(struct meta_op *op, struct executor *executor, struct arena *arena,
                  void (*done)(struct meta_op *op), void *data);
void meta_propose(struct metadata_client *client, struct meta_op *op, const struct meta_command *command);
void meta_query(struct metadata_client *client, struct meta_op *op, const struct meta_query *query);
/* META_SESSION_RENEW: head and reply are two u64 each (session, oldest index that one of its reads needs or may come to
 * need; reply: the oldest index that any live session needs, the index that is applied now). */
void meta_session_renew(struct metadata_client *client, struct meta_op *op, uint64_t session, uint64_t oldest);
/* After done: drops the reply; the answer's slices end here. The op may then be used again. */
void meta_op_release(struct meta_op *op);

#endif
