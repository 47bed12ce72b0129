/*
 * Certificates: who they name, whose they are, when they end, which key they fit; files.
 */
#include "common/base/mem.h"
#include "common/io/certificate.h"
#include "common/io/tls_context.h"
#include "tests/lib/wire_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S INT64_C(2000000000)

struct issued {
    char *key;
    char *request;
    char *pem;
    struct certificate_identity identity;
};

static void issued_init(struct issued *issued, const struct wire_ca *ca, int64_t from_s, int64_t to_s)
{
    issued->identity = (struct certificate_identity){ ca->cluster, wire_node(5), ROLE_STORAGE_NODE, from_s, to_s };
    assert_int_equal(certificate_key_create(&issued->key, NULL), ERRC_OK);
    assert_int_equal(certificate_request_create(issued->key, wire_node(9), &issued->request, NULL), ERRC_OK);
    assert_int_equal(certificate_issue(ca->pem, ca->key, issued->request, &issued->identity, &issued->pem, NULL), ERRC_OK);
}

static void issued_done(struct issued *issued)
{
    certificate_key_free(issued->key);
    mem_free(issued->request);
    mem_free(issued->pem);
}

static int64_t now_s(void)
{
    return (int64_t)(env_wall_ms(env_real()) / 1000);
}

static void identity(void **state)
{
    (void)state;
    struct wire_ca ca;
    struct wire_ca foreign;
    struct issued issued;
    struct certificate_identity found;
    struct error e = ERROR_INIT;
    int64_t now = now_s();
    wire_ca_init(&ca, 1);
    wire_ca_init(&foreign, 1); /* the same cluster id, another key */
    issued_init(&issued, &ca, now - 100, now + 100);
    assert_int_equal(certificate_verify(ca.pem, issued.pem, now, &found, NULL), ERRC_OK);
    assert_true(cluster_id_equal(found.cluster, ca.cluster));
    assert_true(node_id_equal(found.node, wire_node(5))); /* not what the request says */
    assert_int_equal(found.role, ROLE_STORAGE_NODE);
    assert_int_equal(found.not_before_s, now - 100);
    assert_int_equal(found.not_after_s, now + 100);
    assert_int_equal(certificate_verify(ca.pem, issued.pem, now + 101, &found, &e), ERRC_DENIED);
    assert_non_null(strstr(e.text, "expired"));
    assert_int_equal(certificate_verify(ca.pem, issued.pem, now - 101, &found, NULL), ERRC_DENIED);
    assert_int_equal(certificate_verify(foreign.pem, issued.pem, now, &found, NULL), ERRC_DENIED);
    assert_int_equal(certificate_identity_of(ca.pem, &found, NULL), ERRC_DENIED); /* names nobody */
    assert_int_equal(certificate_identity_of("nonsense", &found, NULL), ERRC_INVALID);
    assert_int_equal(certificate_key_fits(issued.pem, issued.key, NULL), ERRC_OK);
    assert_int_equal(certificate_key_fits(issued.pem, ca.key, NULL), ERRC_INVALID);
    issued_done(&issued);
    wire_ca_done(&foreign);
    wire_ca_done(&ca);
}

static void requests(void **state)
{
    (void)state;
    struct wire_ca ca;
    struct wire_ca foreign;
    struct issued issued;
    char *pem = NULL;
    wire_ca_init(&ca, 1);
    wire_ca_init(&foreign, 2);
    issued_init(&issued, &ca, NOW_S, NOW_S + 1);
    /* every byte of the request's body matters: its signature covers it */
    size_t len = strlen(issued.request);
    unsigned accepted = 0;
    for (size_t i = 40; i < len - 40; i++) {
        char was = issued.request[i];
        if (was == '\n') {
            continue;
        }
        issued.request[i] = was == 'A' ? 'B' : 'A';
        uint8_t hash[SHA256_BYTES];
        accepted += certificate_request_key_hash(issued.request, hash, NULL) == ERRC_OK ? 1 : 0;
        issued.request[i] = was;
    }
    assert_in_range(accepted, 0, 1); /* the last symbol of base64 may carry unused bits */
    assert_int_equal(certificate_issue(ca.pem, foreign.key, issued.request, &issued.identity, &pem, NULL), ERRC_INVALID);
    struct certificate_identity nobody = issued.identity;
    nobody.role = ROLE_NONE;
    assert_int_equal(certificate_issue(ca.pem, ca.key, issued.request, &nobody, &pem, NULL), ERRC_INVALID);
    nobody.role = 77;
    assert_int_equal(certificate_issue(ca.pem, ca.key, issued.request, &nobody, &pem, NULL), ERRC_INVALID);
    issued_done(&issued);
    wire_ca_done(&foreign);
    wire_ca_done(&ca);
}

static void hashes(void **state)
{
    (void)state;
    struct wire_ca ca;
    struct issued issued;
    uint8_t a[SHA256_BYTES];
    uint8_t b[SHA256_BYTES];
    wire_ca_init(&ca, 1);
    issued_init(&issued, &ca, NOW_S, NOW_S + 1);
    assert_int_equal(certificate_request_key_hash(issued.request, a, NULL), ERRC_OK);
    assert_int_equal(certificate_public_key_hash(issued.pem, b, NULL), ERRC_OK);
    assert_memory_equal(a, b, SHA256_BYTES);
    assert_int_equal(certificate_public_key_hash(ca.pem, b, NULL), ERRC_OK);
    assert_memory_not_equal(a, b, SHA256_BYTES);
    assert_int_equal(certificate_hash(ca.pem, a, NULL), ERRC_OK);
    assert_int_equal(certificate_hash(issued.pem, b, NULL), ERRC_OK);
    assert_memory_not_equal(a, b, SHA256_BYTES);
    assert_int_equal(certificate_hash("-----BEGIN", b, NULL), ERRC_INVALID);
    issued_done(&issued);
    wire_ca_done(&ca);
}

static void files(void **state)
{
    (void)state;
    char folder[] = "/tmp/cairn-certificate-XXXXXX";
    char *text = NULL;
    struct env *env = env_real();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(certificate_file_read(env, folder, "key.pem", &text, NULL), ERRC_NOT_FOUND);
    assert_int_equal(certificate_file_write(env, folder, "key.pem", "a longer secret", NULL), ERRC_OK);
    assert_int_equal(certificate_file_write(env, folder, "key.pem", "secret", NULL), ERRC_OK);
    assert_int_equal(certificate_file_read(env, folder, "key.pem", &text, NULL), ERRC_OK);
    assert_string_equal(text, "secret");
    certificate_key_free(text);
    char *path = mem_format("%s/key.pem", folder);
    struct env_stat found;
    assert_int_equal(env->vt->stat_path(env, path, &found, NULL), ERRC_OK);
    assert_int_equal(found.mode & 0777, 0600);
    assert_int_equal(env->vt->unlink(env, path, NULL), ERRC_OK);
    assert_int_equal(env->vt->rmdir(env, folder, NULL), ERRC_OK); /* nothing else was left */
    mem_free(path);
}

static void contexts(void **state)
{
    (void)state;
    struct wire_ca ca;
    struct issued issued;
    struct tls_context *context = NULL;
    wire_ca_init(&ca, 1);
    issued_init(&issued, &ca, now_s() - 1, now_s() + 100);
    struct tls_material good = { ca.pem, issued.pem, issued.key };
    struct tls_material bad = { ca.pem, issued.pem, ca.key };
    assert_int_equal(tls_context_create(&bad, &context, NULL), ERRC_INVALID);
    assert_int_equal(tls_context_create(&good, &context, NULL), ERRC_OK);
    assert_int_equal(tls_context_generation(context), 1);
    assert_int_equal(tls_context_reload(context, &bad, NULL), ERRC_INVALID);
    assert_int_equal(tls_context_generation(context), 1);
    assert_int_equal(tls_context_reload(context, &good, NULL), ERRC_OK);
    assert_int_equal(tls_context_generation(context), 2);
    tls_context_destroy(context);
    issued_done(&issued);
    wire_ca_done(&ca);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity), cmocka_unit_test(requests), cmocka_unit_test(hashes),
        cmocka_unit_test(files),    cmocka_unit_test(contexts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
