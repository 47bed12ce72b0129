/* What voters send one another: the first byte says which. Whatever decodes encodes to bytes that decode again. */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "metadata/raft_message.h"
#include "metadata/snapshot_message.h"
#include "metadata/voter_member.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void core_check(struct slice bytes)
{
    struct core_message message;
    struct raft_core_entry *entries = NULL;
    struct raft_core_entry *again = NULL;
    struct enc enc = ENC_INIT;
    if (core_message_decode(bytes, &message, &entries, NULL) == ERRC_OK) {
        core_message_encode(&message, &enc);
        enum errc rc = core_message_decode(enc_slice(&enc), &message, &again, NULL);
        ASSERT(rc == ERRC_OK);
    }
    mem_free(entries);
    mem_free(again);
    enc_free(&enc);
}

static void snapshot_check(struct slice bytes)
{
    struct snapshot_request request;
    struct snapshot_description description;
    struct enc enc = ENC_INIT;
    if (snapshot_request_decode(bytes, &request) == ERRC_OK) {
        snapshot_request_encode(&enc, &request);
        enum errc rc = snapshot_request_decode(enc_slice(&enc), &request);
        ASSERT(rc == ERRC_OK);
    }
    enc_reset(&enc);
    if (snapshot_description_decode(bytes, &description) == ERRC_OK) {
        snapshot_description_encode(&enc, &description);
        enum errc rc = snapshot_description_decode(enc_slice(&enc), &description);
        ASSERT(rc == ERRC_OK);
    }
    enc_free(&enc);
}

static void member_check(struct slice bytes)
{
    struct member_request request;
    struct enc enc = ENC_INIT;
    if (member_request_decode(bytes, &request) == ERRC_OK) {
        member_request_encode(&enc, &request);
        enum errc rc = member_request_decode(enc_slice(&enc), &request);
        ASSERT(rc == ERRC_OK);
    }
    enc_free(&enc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct slice bytes = slice_of(data + 1, len - 1);
    if (data[0] % 3 == 0) {
        core_check(bytes);
    } else if (data[0] % 3 == 1) {
        snapshot_check(bytes);
    } else {
        member_check(bytes);
    }
    return 0;
}
