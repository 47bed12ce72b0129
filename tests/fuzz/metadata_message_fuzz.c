/*
 * Fuzz target: every command, query and answer of the metadata service.
 *
 * First byte: which message is decoded; what is accepted must be encoded again to something that decodes. Or: the rest
 * is a series of commands and queries for a state machine in memory. A command that machine_check() lets into the log
 * must be applied: one that can't be would stop every voter.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"
#include "metadata/machine.h"
#include "tests/lib/kv_memory.h"

#include <stddef.h>
#include <stdint.h>

#define ARENA_BYTES (4u << 20)
#define STEPS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void message_check(unsigned which, struct slice bytes)
{
    unsigned n = 0;
#define X(message)                                                                        \
    if (which == n++) {                                                                   \
        struct arena arena;                                                               \
        struct message *decoded = mem_zalloc(sizeof(*decoded));                           \
        arena_init(&arena, ARENA_BYTES);                                                  \
        if (message##_decode(bytes, &arena, decoded) == ERRC_OK) {                        \
            struct enc enc = ENC_INIT;                                                    \
            message##_encode(&enc, decoded);                                              \
            ASSERT(message##_decode(enc_slice(&enc), &arena, decoded) != ERRC_CORRUPT);   \
            enc_free(&enc);                                                               \
        }                                                                                 \
        arena_done(&arena);                                                               \
        mem_free(decoded);                                                                \
    }
    META_MESSAGES(X)
#undef X
}

/* Each step: two bytes of length, of which the highest bit says that it is a query; then its bytes. */
static void series_run(struct slice input)
{
    struct kv *kv = kv_memory_create();
    struct machine *machine = NULL;
    enum errc rc = machine_open(kv, &machine, NULL);
    ASSERT(rc == ERRC_OK);
    for (uint64_t step = 1; input.len >= 2 && step <= STEPS_MAX; step++) {
        unsigned head = load_le16(input.data);
        size_t len = (head & 0x7fffu) < input.len - 2 ? (head & 0x7fffu) : input.len - 2;
        struct slice bytes = slice_of(input.data + 2, len);
        struct enc reply = ENC_INIT;
        struct error e = ERROR_INIT;
        input = slice_skip(input, 2 + len);
        if ((head & 0x8000u) != 0) {
            rc = machine_query(machine, bytes, false, &reply, &e);
            ASSERT(rc == ERRC_OK || rc == ERRC_INVALID || rc == ERRC_FORMAT || rc == ERRC_LIMIT);
        } else if (machine_check(bytes, &e) == ERRC_OK) {
            rc = machine_apply(machine, step, 0, bytes, &reply, &e);
            ASSERT(rc == ERRC_OK);
        }
        enc_free(&reply);
    }
    machine_close(machine);
    kv->vt->close(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (data[0] == 0xff) {
        series_run(slice_of(data + 1, len - 1));
    } else {
        message_check(data[0], slice_of(data + 1, len - 1));
    }
    return 0;
}
