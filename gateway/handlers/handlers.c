#include "gateway/handlers/handlers.h"

#include "common/base/assert.h"
#include "common/base/base64.h"
#include "common/base/digest.h"
#include "common/base/hex.h"
#include "common/base/mem.h"
#include "gateway/handlers/dispatch.h"
#include "gateway/handlers/gateway_state.h"
#include "gateway/handlers/handler_request.h"

#define ACCOUNT_DEFAULT "000000000000"
#define DISPLAY_NAME_DEFAULT "root"

/* The canonical user id is a fixed function of the account: 64 hex digits, not secret. */
static void canonical_id_make(struct slice account, char ret_text[CANONICAL_ID_BYTES + 1])
{
    static const char label[] = "cairn canonical user id ";
    uint8_t hash[SHA256_BYTES];
    struct digest digest;
    digest_init(&digest, DIGEST_SHA256);
    digest_update(&digest, label, sizeof(label) - 1);
    digest_update(&digest, account.data, account.len);
    digest_final(&digest, hash);
    digest_done(&digest);
    hex_encode(hash, sizeof(hash), ret_text);
}

static struct slice slice_or(struct slice text, const char *otherwise)
{
    return text.len > 0 ? text : slice_str(otherwise);
}

struct gateway *gateway_create(const struct gateway_config *config)
{
    ASSERT(config->loop_count > 0);
    ASSERT(config->loop_count <= GATEWAY_LOOPS_MAX);
    ASSERT(config->store != NULL);
    struct gateway *gateway = mem_zalloc(sizeof(*gateway));
    gateway->config = *config;
    gateway->config.account = slice_or(config->account, ACCOUNT_DEFAULT);
    gateway->config.display_name = slice_or(config->display_name, DISPLAY_NAME_DEFAULT);
    gateway->cipher = block_cipher_create(config->version_key);
    canonical_id_make(gateway->config.account, gateway->canonical_id);
    for (size_t i = 0; i < config->loop_count; i++) {
        gateway->auth[i] = (struct auth_config){
            .identities = config->identities,
            .region = config->s3.region,
            .any_region = config->any_region,
            .refuse_unsigned_without_tls = config->refuse_unsigned_without_tls,
            .cache = auth_key_cache_create(),
        };
    }
    return gateway;
}

void gateway_destroy(struct gateway *gateway)
{
    if (gateway == NULL) {
        return;
    }
    ASSERT(atomic_load(&gateway->active) == 0);
    for (size_t i = 0; i < gateway->config.loop_count; i++) {
        auth_key_cache_destroy(gateway->auth[i].cache);
    }
    block_cipher_destroy(gateway->cipher);
    mem_wipe(gateway, sizeof(*gateway));
    mem_free(gateway);
}

struct http_handler gateway_handler(struct gateway *gateway)
{
    return (struct http_handler){
        .on_request = dispatch_request,
        .on_bad_request = dispatch_bad_request,
        .data = gateway,
    };
}

void gateway_set_ready(struct gateway *gateway, bool ready, const char *why)
{
    ASSERT(ready || why != NULL);
    atomic_store(&gateway->not_ready, ready ? NULL : why);
}

void gateway_make_ids(struct gateway *gateway, char *ret_id, char *ret_host_id)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t random[REQUEST_ID_BYTES + REQUEST_HOST_ID_BYTES / 4 * 3];
    env_random(gateway->config.env, random, sizeof(random));
    for (size_t i = 0; i < REQUEST_ID_BYTES; i++) {
        ret_id[i] = digits[random[i] % 36]; /* an opaque label: the slight bias is of no account */
    }
    ret_id[REQUEST_ID_BYTES] = '\0';
    size_t len = base64_encode(random + REQUEST_ID_BYTES, REQUEST_HOST_ID_BYTES / 4 * 3, ret_host_id);
    ASSERT(len == REQUEST_HOST_ID_BYTES);
}
