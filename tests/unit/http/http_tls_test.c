/*
 * The front over TLS: small and large bodies both ways, reload, files that do not fit.
 */
#include "common/http/http_tls.h"
#include "tests/unit/http/http_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BODY_BYTES (8u << 20)

struct tls_fixture {
    struct fixture f;
    struct http_tls *tls;
    char path[64];
    char cert[80];
    char key[80];
};

static struct buffer *payload;

/* libuv reads until it is told EAGAIN where a read filled its buffer: this makes that happen often. Over the libc's, for
 * sockets of loops (they do not block). */
static atomic_bool empty_reads; /* now */
static bool empty_reads_wanted; /* after the handshake: h2o gives one up that finds nothing, which takes a hello of 4 KiB */

ssize_t read(int fd, void *target, size_t len)
{
    static _Thread_local unsigned count;
    if (atomic_load(&empty_reads) && len >= 4096 && (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && ++count % 16 == 0) {
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_read, fd, target, len);
}

/* libh2o keeps memory of each thread for reuse and has no call that frees it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:h2o_mem_alloc_recycle\n";
}

static void write_pair(const char *cert_path, const char *key_path, long serial)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    (void)X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    (void)X509_set_issuer_name(cert, name);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(cert_path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    (void)fclose(file);
    file = fopen(key_path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void on_piece(void *data, struct http_request *req, const struct http_piece *piece)
{
    struct fixture *f = data;
    assert_int_equal(piece->code, ERRC_OK);
    for (size_t i = 0; i < piece->data.len; i += 997) {
        ASSERT(piece->data.data[i] == 'x');
    }
    atomic_fetch_add(&f->body_bytes, piece->data.len);
    if (!piece->is_end) {
        http_body_read(req, on_piece, f);
        return;
    }
    http_respond_whole(req, &(struct http_response){ .status = 200 }, (struct http_part){ slice_str("done"), NULL });
}

static void on_request(void *data, struct http_request *req)
{
    struct fixture *f = data;
    ASSERT(req->is_tls);
    atomic_fetch_add(&f->requests, 1);
    if (slice_equal_str(req->method, "PUT")) {
        http_body_read(req, on_piece, f);
    } else {
        struct http_response response = { .status = 200 };
        http_respond_whole(req, &response, (struct http_part){ buffer_slice(payload), payload });
    }
}

static int start(void **state)
{
    struct tls_fixture *t = mem_zalloc(sizeof(*t));
    struct error e = ERROR_INIT;
    (void)snprintf(t->path, sizeof(t->path), "/tmp/cairn-tls-XXXXXX");
    assert_non_null(mkdtemp(t->path));
    (void)snprintf(t->cert, sizeof(t->cert), "%s/cert.pem", t->path);
    (void)snprintf(t->key, sizeof(t->key), "%s/key.pem", t->path);
    write_pair(t->cert, t->key, 1);
    assert_int_equal(http_tls_open(t->cert, t->key, &t->tls, &e), ERRC_OK);
    payload = buffer_new(BODY_BYTES);
    memset(payload->data, 'y', BODY_BYTES);
    payload->len = BODY_BYTES;
    struct http_front_options options = { .tls = t->tls };
    fixture_start(&t->f, on_request, &options);
    *state = t;
    return 0;
}

static int stop(void **state)
{
    struct tls_fixture *t = *state;
    fixture_stop(&t->f, 2000);
    http_tls_close(t->tls);
    buffer_unref(payload);
    (void)unlink(t->cert);
    (void)unlink(t->key);
    assert_int_equal(rmdir(t->path), 0);
    mem_free(t);
    return 0;
}

static SSL *tls_connect(struct tls_fixture *t, SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    assert_int_equal(SSL_set_fd(ssl, client_connect(&t->f)), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    return ssl;
}

static void tls_close(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(fd);
}

static char reply[65536];

/* Reads a whole response with Content-Length; returns the length of its body. */
static size_t tls_response(SSL *ssl)
{
    size_t got = 0;
    const char *end = NULL;
    while (end == NULL) {
        int n = SSL_read(ssl, reply + got, (int)(sizeof(reply) - 1 - got));
        assert_true(n > 0);
        got += (size_t)n;
        reply[got] = '\0';
        end = strstr(reply, "\r\n\r\n");
    }
    const char *length = strstr(reply, "Content-Length: ");
    assert_non_null(length);
    size_t want = strtoull(length + 16, NULL, 10);
    size_t body = got - (size_t)(end + 4 - reply);
    while (body < want) {
        int n = SSL_read(ssl, reply, sizeof(reply));
        assert_true(n > 0);
        body += (size_t)n;
    }
    assert_int_equal(body, want);
    return body;
}

static void check_version(struct tls_fixture *t, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    (void)SSL_CTX_set_min_proto_version(ctx, version);
    (void)SSL_CTX_set_max_proto_version(ctx, version);
    SSL *ssl = tls_connect(t, ctx);
    atomic_store(&empty_reads, empty_reads_wanted);
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char put[] = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8388608\r\n\r\n";
    for (unsigned round = 0; round < 2; round++) { /* on one connection */
        assert_int_equal(SSL_write(ssl, get, sizeof(get) - 1), sizeof(get) - 1);
        assert_int_equal(tls_response(ssl), BODY_BYTES);
        assert_int_equal(SSL_write(ssl, put, sizeof(put) - 1), sizeof(put) - 1);
        assert_int_equal(SSL_read(ssl, reply, sizeof(reply)), 25);
        assert_memory_equal(reply, "HTTP/1.1 100", 12);
        char *block = mem_alloc(BODY_BYTES);
        memset(block, 'x', BODY_BYTES);
        assert_int_equal(SSL_write(ssl, block, BODY_BYTES), BODY_BYTES);
        mem_free(block);
        assert_int_equal(tls_response(ssl), 4);
    }
    atomic_store(&empty_reads, false);
    tls_close(ssl);
    SSL_CTX_free(ctx);
}

static void test_bodies(void **state)
{
    struct tls_fixture *t = *state;
    check_version(t, TLS1_3_VERSION);
    check_version(t, TLS1_2_VERSION);
    assert_int_equal(atomic_load(&t->f.requests), 8);
    assert_int_equal(atomic_load(&t->f.body_bytes), 4 * BODY_BYTES);
}

static void test_reads_that_find_nothing(void **state)
{
    empty_reads_wanted = true;
    test_bodies(state);
    empty_reads_wanted = false;
}

static long serial_of(SSL *ssl)
{
    X509 *cert = SSL_get1_peer_certificate(ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));
    X509_free(cert);
    return serial;
}

static void test_reload(void **state)
{
    struct tls_fixture *t = *state;
    struct error e = ERROR_INIT;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *before = tls_connect(t, ctx);
    assert_int_equal(serial_of(before), 1);
    write_pair(t->cert, t->key, 2);
    assert_int_equal(http_tls_reload(t->tls, &e), ERRC_OK);
    SSL *after = tls_connect(t, ctx);
    assert_int_equal(serial_of(after), 2);
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(SSL_write(before, get, sizeof(get) - 1), sizeof(get) - 1);
    assert_int_equal(tls_response(before), BODY_BYTES);
    tls_close(before);
    tls_close(after);
    write_pair(t->cert, "/dev/null", 3); /* now the key does not fit: the old pair stays */
    assert_int_equal(http_tls_reload(t->tls, &e), ERRC_INVALID);
    after = tls_connect(t, ctx);
    assert_int_equal(serial_of(after), 2);
    tls_close(after);
    SSL_CTX_free(ctx);
}

static void test_plain_text_is_refused(void **state)
{
    struct tls_fixture *t = *state;
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    bool eof;
    client_ask(&t->f, get, sizeof(get) - 1, reply, sizeof(reply), &eof);
    assert_true(eof);
    assert_null(strstr(reply, "HTTP/1.1 200"));
    assert_int_equal(atomic_load(&t->f.requests), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bodies, start, stop),
        cmocka_unit_test_setup_teardown(test_reads_that_find_nothing, start, stop),
        cmocka_unit_test_setup_teardown(test_reload, start, stop),
        cmocka_unit_test_setup_teardown(test_plain_text_is_refused, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
