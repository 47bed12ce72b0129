/*
 * rpc_client_parts - what rpc_client.c (calls and lanes) and rpc_link.c (a connection) share; nobody else includes it.
 */
#ifndef COMMON_RPC_RPC_CLIENT_PARTS_H
#define COMMON_RPC_RPC_CLIENT_PARTS_H

#include "common/base/list.h"
#include "common/io/tls_stream.h"
#include "common/rpc/rpc_client.h"
#include "common/rpc/rpc_frame.h"
#include "common/rpc/rpc_schema.h"

#include <stdatomic.h>

/*
 * One call. It waits in its lane, then belongs to a link until it is answered. `call` is finished once and then NULL;
 * the struct lives on while the stream still needs the bytes of its frame.
 */
struct client_call {
    struct rpc_client *client;
    struct rpc_call *call;
    const struct rpc_method_info *info; /* NULL: not in the schema; then as ONCE and SMALL */
    struct list node;                   /* in lane.waiting or link.calls */
    struct link *link;                  /* NULL while waiting */
    uint64_t bytes;
    uint64_t sent_ns;
    bool repeated;
    bool writing;                       /* the stream has `write` */
    struct timer timer;
    uint32_t slot;                      /* in client.slots */
    uint64_t id;                        /* on the wire: slot and a count */
    struct rpc_frame_header header;
    struct enc prefix;
    uint8_t *head;                      /* a copy: the caller may be gone before it is written */
    struct buffer *payloads[RPC_PAYLOADS_MAX];
    unsigned payload_count;
    struct tls_write write;
    struct slice parts[RPC_PAYLOADS_MAX + 2];
};

struct lane {
    struct list waiting; /* struct client_call */
    struct list links;   /* struct link: connecting, ready */
    unsigned link_count;
    unsigned links_max;
};

enum link_state { LINK_CONNECTING, LINK_GREETING, LINK_READY, LINK_CLOSED };

/* One connection. */
struct link {
    struct rpc_client *client;
    struct lane *lane;
    struct list node;    /* in lane.links or client.retired */
    struct list calls;   /* struct client_call */
    unsigned call_count;
    uint64_t call_bytes;
    enum link_state state;
    bool retired;        /* gets no more calls */
    struct tls_stream *stream;
    uint64_t generation; /* of the TLS context */
    uint64_t received_ns; /* last time that bytes came */
    struct rpc_reader reader;
    struct timer clock;  /* deadline of the connection attempt, then idleness */
    struct error reason; /* what the peer said before it closed, or what we found wrong */
    struct enc hello;
    struct slice hello_part;
    struct tls_write hello_write;
};

/* Of the loop's thread, but for the counters. */
struct rpc_client {
    struct rpc_channel channel;
    struct rpc_client_config config;
    struct executor *executor;
    char *address;
    struct lane lanes[RPC_LANE_COUNT];
    struct list retired; /* struct link */
    unsigned link_total; /* with the retired ones */
    struct rpc_hello hello;

    struct client_call **slots;
    uint32_t *slots_free;
    uint32_t slots_free_count;
    uint64_t id_count;

    uint64_t next_try_ns; /* no attempt to connect before */
    uint32_t backoff_ms;  /* 0: the last attempt succeeded */
    struct error last_error;
    uint64_t refusal_logged_ns; /* 0: never */

    unsigned client_calls; /* structs alive */
    bool destroying;
    struct task destroy_task;
    void (*destroyed)(void *data);
    void *destroyed_data;

    atomic_uint_fast64_t calls;
    atomic_uint_fast64_t bytes;
    atomic_uint_fast64_t connections;
    atomic_uint_fast64_t connects;
    atomic_uint_fast64_t repeats;
};

/* rpc_link.c */
void link_create(struct rpc_client *client, struct lane *lane);
void link_send(struct link *link, struct client_call *call);
void link_retire(struct link *link);
/* A call has left the link. */
void link_settle(struct link *link);

/* rpc_client.c */
void lane_pump(struct lane *lane, struct rpc_client *client);
void client_connected(struct rpc_client *client);
void client_connect_failed(struct rpc_client *client, const struct error *reason);
/* A link is gone: its calls go back to the lane or end. */
void client_link_lost(struct rpc_client *client, struct link *link, const struct error *reason);
struct client_call *client_call_find(struct rpc_client *client, uint64_t id);
void client_call_reply(struct client_call *call, struct rpc_frame *frame);
void client_call_detach(struct client_call *call);
uint32_t client_left_ms(struct rpc_client *client, uint64_t deadline_ns); /* rounded up */
/* Frees a client that is being destroyed when nothing is left of it. */
void client_settle(struct rpc_client *client);

#endif
