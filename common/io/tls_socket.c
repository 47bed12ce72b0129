/*
 * How streams come to be: addresses, listening, accepting, connecting.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/io/tls_stream.h"
#include "common/io/tls_stream_parts.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define BACKLOG 511
#define HOST_BYTES 256 /* a DNS name and a terminator */

struct tls_listener {
    struct loop *loop;
    struct tls_context *context;
    tls_accept_fn *accept;
    void *data;
    unsigned port;
    uv_tcp_t tcp;
};

/* ---- addresses ---- */

static bool port_ok(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && strtoul(text, NULL, 10) <= 65535;
}

/* Splits "HOST:PORT" or "[HOST]:PORT"; both point into `host`. */
static bool address_split(const char *address, char host[HOST_BYTES], const char **ret_host, const char **ret_port)
{
    (void)snprintf(host, HOST_BYTES, "%s", address);
    char *colon = strrchr(host, ':');
    if (strlen(address) >= HOST_BYTES || colon == NULL || colon == host || !port_ok(colon + 1)) {
        return false;
    }
    *colon = '\0';
    *ret_port = colon + 1;
    *ret_host = host;
    if (host[0] == '[') {
        if (colon[-1] != ']') {
            return false;
        }
        colon[-1] = '\0';
        *ret_host = host + 1;
    }
    return **ret_host != '\0';
}

static void address_text(const struct sockaddr *address, char text[TLS_ADDRESS_BYTES])
{
    char host[48] = "?";
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
        (void)uv_ip6_name(in6, host, sizeof(host));
        (void)snprintf(text, TLS_ADDRESS_BYTES, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        (void)uv_ip4_name(in, host, sizeof(host));
        (void)snprintf(text, TLS_ADDRESS_BYTES, "%s:%u", host, ntohs(in->sin_port));
    }
}

/* ---- listening ---- */

static void on_connection(uv_stream_t *tcp, int status)
{
    struct tls_listener *self = tcp->data;
    if (status != 0) {
        return; /* it has gone again, or no descriptor is free: libuv tries the next one */
    }
    struct tls_stream *stream = stream_create(self->loop, self->context, true);
    struct sockaddr_storage peer;
    int len = sizeof(peer);
    if (uv_accept(tcp, (uv_stream_t *)&stream->tcp) != 0 ||
        uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&peer, &len) != 0) {
        tls_stream_close(stream);
        return;
    }
    address_text((const struct sockaddr *)&peer, stream->address);
    stream_connected(stream);
    self->accept(self->data, stream);
}

static void on_listener_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void tls_listener_close(struct tls_listener *self)
{
    uv_close((uv_handle_t *)&self->tcp, on_listener_closed);
}

static int listener_bind(struct tls_listener *self, const struct sockaddr *address)
{
    struct sockaddr_storage bound;
    int len = sizeof(bound);
    int failed = uv_tcp_bind(&self->tcp, address, 0);
    if (failed == 0) {
        failed = uv_listen((uv_stream_t *)&self->tcp, BACKLOG, on_connection);
    }
    if (failed == 0) {
        failed = uv_tcp_getsockname(&self->tcp, (struct sockaddr *)&bound, &len);
    }
    if (failed == 0) {
        self->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                       : ((struct sockaddr_in *)&bound)->sin_port);
    }
    return failed;
}

enum errc tls_listener_open(struct loop *loop, struct tls_context *context, const char *address,
                            tls_accept_fn *accept, void *data, struct tls_listener **ret_listener, struct error *e)
{
    char host_bytes[HOST_BYTES];
    const char *host;
    const char *port;
    if (!address_split(address, host_bytes, &host, &port)) {
        return error_set(e, ERRC_INVALID, "'%s' is not ADDR:PORT", address);
    }
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
    uv_getaddrinfo_t lookup;
    int failed = uv_getaddrinfo(loop_uv(loop), &lookup, NULL, host, port, &hints);
    if (failed != 0) {
        return error_set(e, ERRC_INVALID, "cannot listen on %s: %s", address, uv_strerror(failed));
    }
    struct tls_listener *self = mem_zalloc(sizeof(*self));
    *self = (struct tls_listener){ .loop = loop, .context = context, .accept = accept, .data = data };
    failed = uv_tcp_init(loop_uv(loop), &self->tcp);
    ASSERT(failed == 0);
    self->tcp.data = self;
    failed = listener_bind(self, lookup.addrinfo->ai_addr);
    uv_freeaddrinfo(lookup.addrinfo);
    if (failed != 0) {
        tls_listener_close(self);
        return error_set_sys(e, -failed, "cannot listen on %s", address);
    }
    *ret_listener = self;
    return ERRC_OK;
}

unsigned tls_listener_port(const struct tls_listener *self)
{
    return self->port;
}

/* ---- connecting ---- */

static void on_connect(uv_connect_t *request, int status)
{
    struct tls_stream *self = request->data;
    if (self->state != STREAM_CONNECTING) {
        return; /* closing */
    }
    if (status != 0) {
        stream_fail(self, ERRC_UNAVAILABLE, status, "cannot connect");
        return;
    }
    stream_connected(self);
    tls_stream_resume(self); /* begins the handshake */
}

static void connect_to(struct tls_stream *self, const struct sockaddr *address)
{
    address_text(address, self->address);
    self->connect_request.data = self;
    int failed = uv_tcp_connect(&self->connect_request, &self->tcp, address, on_connect);
    if (failed != 0) {
        stream_fail(self, ERRC_UNAVAILABLE, failed, "cannot connect");
    }
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct tls_stream *self = lookup->data;
    self->looking_up = false;
    if (self->state != STREAM_CONNECTING) {
        stream_release(self);
    } else if (status != 0 || found == NULL) {
        stream_fail(self, ERRC_UNAVAILABLE, status != 0 ? status : UV_EAI_NODATA, "cannot look the address up");
    } else {
        const struct addrinfo *wanted = found; /* the first of IPv4, otherwise the first */
        while (wanted != NULL && wanted->ai_family != AF_INET) {
            wanted = wanted->ai_next;
        }
        connect_to(self, wanted != NULL ? wanted->ai_addr : found->ai_addr);
    }
    uv_freeaddrinfo(found);
}

static void connect_begin(struct tls_stream *self, const char *address)
{
    char host_bytes[HOST_BYTES];
    const char *host;
    const char *port;
    struct sockaddr_storage numeric;
    if (!address_split(address, host_bytes, &host, &port)) {
        stream_fail(self, ERRC_INVALID, 0, "not an address ADDR:PORT");
        return;
    }
    int number = (int)strtoul(port, NULL, 10);
    if (uv_ip4_addr(host, number, (struct sockaddr_in *)&numeric) == 0 ||
        uv_ip6_addr(host, number, (struct sockaddr_in6 *)&numeric) == 0) {
        connect_to(self, (struct sockaddr *)&numeric);
        return;
    }
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    self->lookup.data = self;
    int failed = uv_getaddrinfo(loop_uv(self->loop), &self->lookup, on_lookup, host, port, &hints);
    if (failed != 0) {
        stream_fail(self, ERRC_UNAVAILABLE, failed, "cannot look the address up");
    } else {
        self->looking_up = true;
    }
}

struct tls_stream *tls_stream_connect(struct loop *loop, struct tls_context *context, const char *address,
                                      const struct tls_stream_events *events, void *data)
{
    struct tls_stream *self = stream_create(loop, context, false);
    self->events = events;
    self->data = data;
    (void)snprintf(self->address, sizeof(self->address), "%s", address);
    connect_begin(self, address);
    return self;
}
