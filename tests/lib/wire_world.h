/*
 * wire_world - two processes of a cluster in one test: a server's loop and a client's, real TLS over loopback.
 */
#ifndef TESTS_LIB_WIRE_WORLD_H
#define TESTS_LIB_WIRE_WORLD_H

#include "common/io/certificate.h"
#include "common/io/loop.h"
#include "common/io/tls_context.h"
#include "common/rpc/rpc_client.h"
#include "common/rpc/rpc_schema.h"
#include "common/rpc/rpc_server.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* A cluster's CA. */
struct wire_ca {
    struct cluster_id cluster;
    char *key;
    char *pem;
};

void wire_ca_init(struct wire_ca *ca, uint8_t number);
void wire_ca_done(struct wire_ca *ca);
/* A context of a process: role, node (all bytes `node`), valid from and to seconds from now. */
struct tls_context *wire_context(const struct wire_ca *ca, enum cluster_role role, uint8_t node, int64_t from_s, int64_t to_s);
struct node_id wire_node(uint8_t node);

/* What the service does with a call, in the first byte of its head. */
enum wire_behaviour {
    WIRE_ECHO = 'e',  /* head and payloads come back */
    WIRE_HOLD = 'h',  /* answered by wire_world_release() */
    WIRE_GROW = 'g',  /* answers with `reply_bytes` of payload */
    WIRE_ORDER = 'o', /* "oXNNNN" must come with NNNN rising for each digit X */
    WIRE_FAIL = 'f',  /* NOT_FOUND with a story and a reply */
};

struct wire_world {
    struct wire_ca ca;
    struct loop *server_loop;
    struct loop *client_loop;
    struct tls_context *server_tls;
    struct rpc_server *server;
    char address[64];
    struct rpc_channel service; /* runs on the server's loop */
    struct rpc_call *held;
    size_t reply_bytes;
    atomic_uint calls;          /* that reached the service */
    unsigned order_next[10];    /* the server's loop */
    atomic_uint disordered;
    atomic_uint last_role;
    atomic_uint last_deadline_ms; /* left when it arrived; 0: none */
    pthread_mutex_t lock;       /* guards what follows */
    unsigned refused;
    char refused_address[64];
    struct error refused_reason;
    sem_t wake;
};

/* The server is node 1, role `role`. */
void wire_world_open(struct wire_world *world, enum cluster_role role, const struct rpc_server_limits *limits);
void wire_world_stop_server(struct wire_world *world, uint32_t grace_ms); /* and destroys it */
void wire_world_close(struct wire_world *world);
void wire_wake(void *semaphore); /* posts it: a callback of stops and destroys */
/* Answers held calls. */
void wire_world_release(struct wire_world *world);
/* Until what was posted to the server's loop so far has run. */
void wire_world_sync(struct wire_world *world);
unsigned wire_world_refused(struct wire_world *world, struct error *ret_last); /* how many */
/* Until so many peers or calls were refused, at most 10 s. */
void wire_world_await_refused(struct wire_world *world, unsigned count, struct error *ret_last);

/* A client of the world's server, expecting nothing special. */
struct rpc_client_config wire_client_config(struct wire_world *world, struct tls_context *tls, uint8_t node);
void wire_client_destroy(struct rpc_client *client); /* waits */

/* A call that a thread waits for. */
struct wire_call {
    struct rpc_call call;
    sem_t done;
};

void wire_call_start(struct wire_call *call, struct wire_world *world, struct rpc_client *client, uint16_t method,
                     const char *head, uint32_t timeout_ms);
enum errc wire_call_wait(struct wire_call *call); /* at most 60 s; the caller releases */
/* Both, and releases; the status. */
enum errc wire_call_once(struct wire_world *world, struct rpc_client *client, uint16_t method, const char *head,
                         struct error *ret_error);

#endif
