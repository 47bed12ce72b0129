/*
 * wire_raw - a peer that does not play by the rules: bytes of a test's choice, with TLS or without, and a proxy that
 * records what a client sends.
 */
#ifndef TESTS_LIB_WIRE_RAW_H
#define TESTS_LIB_WIRE_RAW_H

#include "common/rpc/rpc_frame.h"
#include "tests/lib/wire_world.h"

#include <openssl/ssl.h>

/* A TCP connection to "127.0.0.1:PORT". */
int raw_connect(const char *address);
/* Until the peer closes: how many bytes came (they are dropped). */
size_t raw_drain(int fd);

/* TLS without any check of the server, with a certificate of `ca` (NULL: none). NULL if the handshake failed. */
SSL *raw_tls(const char *address, const struct wire_ca *ca, enum cluster_role role, uint8_t node, int64_t from_s,
             int64_t to_s);
void raw_tls_close(SSL *ssl);
void raw_tls_send(SSL *ssl, struct slice bytes);
/* Reads one frame; false when the connection ends before it. */
bool raw_tls_read_frame(SSL *ssl, struct rpc_frame *ret_frame);
/* A frame with a head and nothing else. */
struct enc raw_frame(struct rpc_frame_header *header, struct slice head);

#define RAW_RECORDED_MAX (64u << 10)
#define RAW_PROXY_PAIRS 16

/* Connections of clients to a target, forwarded by a thread until they are cut. */
struct raw_proxy {
    pthread_t thread;
    char address[64];      /* connect here */
    char target[64];
    int listener;
    int pairs[RAW_PROXY_PAIRS][2]; /* client, server; -1: none */
    uint8_t *recorded;     /* what clients sent, the first of it */
    size_t recorded_len;
    atomic_bool frozen;    /* nothing is forwarded; connections stay */
    atomic_bool spoil;     /* set: sends every client what is no TLS, then clears it */
    atomic_bool cut;       /* set: closes every connection, then clears it */
    atomic_bool stopping;
    atomic_uint accepted;
};

void raw_proxy_open(struct raw_proxy *proxy, const char *target);
void raw_proxy_cut(struct raw_proxy *proxy); /* waits until it is done */
void raw_proxy_spoil(struct raw_proxy *proxy); /* waits until it is done */
void raw_proxy_stop(struct raw_proxy *proxy); /* ends the thread; what was recorded may be read */
void raw_proxy_close(struct raw_proxy *proxy); /* after stop */

#endif
