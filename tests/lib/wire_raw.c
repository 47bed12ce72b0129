#include "tests/lib/wire_raw.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(const char *address)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    const char *colon = strrchr(address, ':');
    ASSERT(colon != NULL);
    in.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return in;
}

int raw_connect(const char *address)
{
    struct sockaddr_in in = loopback(address);
    struct timeval limit = { 30, 0 };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT(fd >= 0);
    ASSERT(connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0);
    ASSERT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
    return fd;
}

size_t raw_drain(int fd)
{
    uint8_t block[4096];
    size_t total = 0;
    ssize_t len;
    while ((len = recv(fd, block, sizeof(block), 0)) > 0) {
        total += (size_t)len;
    }
    return total;
}

/* ---- TLS ---- */

static void certificate_use(SSL_CTX *ctx, const struct wire_ca *ca, enum cluster_role role, uint8_t node, int64_t from_s,
                            int64_t to_s)
{
    char *key;
    char *request;
    char *pem;
    int64_t now = (int64_t)(env_wall_ms(env_real()) / 1000);
    struct certificate_identity identity = { ca->cluster, wire_node(node), (uint8_t)role, now + from_s, now + to_s };
    ASSERT(certificate_key_create(&key, NULL) == ERRC_OK);
    ASSERT(certificate_request_create(key, identity.node, &request, NULL) == ERRC_OK);
    ASSERT(certificate_issue(ca->pem, ca->key, request, &identity, &pem, NULL) == ERRC_OK);
    BIO *key_bio = BIO_new_mem_buf(key, -1);
    BIO *pem_bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *private_key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    X509 *certificate = PEM_read_bio_X509(pem_bio, NULL, NULL, NULL);
    ASSERT(SSL_CTX_use_certificate(ctx, certificate) == 1);
    ASSERT(SSL_CTX_use_PrivateKey(ctx, private_key) == 1);
    X509_free(certificate);
    EVP_PKEY_free(private_key);
    (void)BIO_free(pem_bio);
    (void)BIO_free(key_bio);
    certificate_key_free(key);
    mem_free(request);
    mem_free(pem);
}

SSL *raw_tls(const char *address, const struct wire_ca *ca, enum cluster_role role, uint8_t node, int64_t from_s,
             int64_t to_s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    ASSERT(ctx != NULL);
    if (ca != NULL) {
        certificate_use(ctx, ca, role, node, from_s, to_s);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    (void)SSL_set_fd(ssl, raw_connect(address));
    if (SSL_connect(ssl) != 1) {
        raw_tls_close(ssl);
        return NULL;
    }
    return ssl;
}

void raw_tls_close(SSL *ssl)
{
    if (ssl != NULL) {
        (void)close(SSL_get_fd(ssl));
        SSL_free(ssl);
    }
}

void raw_tls_send(SSL *ssl, struct slice bytes)
{
    (void)SSL_write(ssl, bytes.data, (int)bytes.len); /* the peer may have closed already */
}

bool raw_tls_read_frame(SSL *ssl, struct rpc_frame *ret_frame)
{
    struct rpc_reader reader;
    enum rpc_read_event event = RPC_READ_MORE;
    rpc_reader_init(&reader, 1);
    while (event == RPC_READ_MORE) {
        size_t room;
        uint8_t *target = rpc_reader_target(&reader, &room);
        size_t len = 0;
        if (SSL_read_ex(ssl, target, room, &len) != 1) {
            break;
        }
        event = rpc_reader_received(&reader, len, NULL);
        if (event == RPC_READ_HEADER) {
            event = rpc_reader_received(&reader, 0, NULL);
        }
    }
    if (event == RPC_READ_FRAME) {
        rpc_reader_take(&reader, ret_frame);
    }
    rpc_reader_done(&reader);
    return event == RPC_READ_FRAME;
}

struct enc raw_frame(struct rpc_frame_header *header, struct slice head)
{
    struct enc enc = ENC_INIT;
    struct rpc_frame_parts parts = { .head = head };
    ASSERT(rpc_frame_prefix(header, &parts, &enc, NULL) == ERRC_OK);
    enc_raw(&enc, head.data, head.len);
    return enc;
}

/* ---- the proxy ---- */

static void record(struct raw_proxy *proxy, const uint8_t *bytes, size_t len)
{
    size_t room = RAW_RECORDED_MAX - proxy->recorded_len;
    size_t kept = len < room ? len : room;
    memcpy(proxy->recorded + proxy->recorded_len, bytes, kept);
    proxy->recorded_len += kept;
}

static bool forward(struct raw_proxy *proxy, const int pair[2], int side)
{
    uint8_t block[65536];
    ssize_t len = recv(pair[side], block, sizeof(block), MSG_DONTWAIT);
    if (len < 0) {
        return true;
    }
    if (len > 0 && side == 0) {
        record(proxy, block, (size_t)len);
    }
    return len > 0 && send(pair[1 - side], block, (size_t)len, MSG_NOSIGNAL) == len;
}

static void pair_close(int pair[2])
{
    for (int side = 0; side < 2; side++) {
        if (pair[side] >= 0) {
            (void)close(pair[side]);
            pair[side] = -1;
        }
    }
}

static void pair_open(struct raw_proxy *proxy)
{
    int client = accept(proxy->listener, NULL, NULL);
    ASSERT(client >= 0);
    for (unsigned i = 0; i < RAW_PROXY_PAIRS; i++) {
        if (proxy->pairs[i][0] < 0) {
            proxy->pairs[i][0] = client;
            proxy->pairs[i][1] = raw_connect(proxy->target);
            (void)atomic_fetch_add(&proxy->accepted, 1);
            return;
        }
    }
    ASSERT(false); /* RAW_PROXY_PAIRS */
}

static void *proxy_main(void *data)
{
    struct raw_proxy *proxy = data;
    while (!atomic_load(&proxy->stopping)) {
        struct pollfd polls[1 + 2 * RAW_PROXY_PAIRS] = { { proxy->listener, POLLIN, 0 } };
        bool frozen = atomic_load(&proxy->frozen);
        for (unsigned i = 0; i < 2 * RAW_PROXY_PAIRS; i++) {
            polls[1 + i] = (struct pollfd){ frozen ? -1 : proxy->pairs[i / 2][i % 2], POLLIN, 0 };
        }
        (void)poll(polls, 1 + 2 * RAW_PROXY_PAIRS, 5);
        for (unsigned i = 0; i < 2 * RAW_PROXY_PAIRS; i++) {
            int *pair = proxy->pairs[i / 2];
            if (polls[1 + i].revents != 0 && pair[0] >= 0 && !forward(proxy, pair, (int)(i % 2))) {
                pair_close(pair);
            }
        }
        if (polls[0].revents != 0) {
            pair_open(proxy);
        }
        for (unsigned i = 0; i < RAW_PROXY_PAIRS && atomic_load(&proxy->spoil); i++) {
            if (proxy->pairs[i][0] >= 0) {
                ASSERT(send(proxy->pairs[i][0], "this is no record of TLS", 24, MSG_NOSIGNAL) == 24);
            }
        }
        atomic_store(&proxy->spoil, false);
        if (atomic_load(&proxy->cut)) {
            for (unsigned i = 0; i < RAW_PROXY_PAIRS; i++) {
                pair_close(proxy->pairs[i]);
            }
            atomic_store(&proxy->cut, false);
        }
    }
    return NULL;
}

void raw_proxy_open(struct raw_proxy *proxy, const char *target)
{
    struct sockaddr_in in = loopback(":0");
    socklen_t len = sizeof(in);
    memset(proxy, 0, sizeof(*proxy));
    memset(proxy->pairs, 0xff, sizeof(proxy->pairs));
    proxy->recorded = mem_alloc(RAW_RECORDED_MAX);
    (void)snprintf(proxy->target, sizeof(proxy->target), "%s", target);
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT(proxy->listener >= 0);
    ASSERT(bind(proxy->listener, (struct sockaddr *)&in, sizeof(in)) == 0);
    ASSERT(listen(proxy->listener, 16) == 0);
    ASSERT(getsockname(proxy->listener, (struct sockaddr *)&in, &len) == 0);
    (void)snprintf(proxy->address, sizeof(proxy->address), "127.0.0.1:%u", ntohs(in.sin_port));
    ASSERT(pthread_create(&proxy->thread, NULL, proxy_main, proxy) == 0);
}

void raw_proxy_cut(struct raw_proxy *proxy)
{
    atomic_store(&proxy->cut, true);
    while (atomic_load(&proxy->cut)) {
        (void)usleep(1000);
    }
}

void raw_proxy_spoil(struct raw_proxy *proxy)
{
    atomic_store(&proxy->spoil, true);
    while (atomic_load(&proxy->spoil)) {
        (void)usleep(1000);
    }
}

void raw_proxy_stop(struct raw_proxy *proxy)
{
    atomic_store(&proxy->stopping, true);
    (void)pthread_join(proxy->thread, NULL);
    for (unsigned i = 0; i < RAW_PROXY_PAIRS; i++) {
        pair_close(proxy->pairs[i]);
    }
    (void)close(proxy->listener);
}

void raw_proxy_close(struct raw_proxy *proxy)
{
    mem_free(proxy->recorded);
}
