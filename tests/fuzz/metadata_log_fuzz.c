/*
 * Fuzz target: a metadata log that was damaged. The input says which records are written and what is then done to the
 * bytes; records carry checksums, so a fuzzer that made up the bytes would never come past the first one.
 *
 * Whatever is read back is the beginning of what was written: damage makes a log shorter or is CORRUPT, never other data.
 * Reading it a second time gives the same.
 */
#include "common/base/assert.h"
#include "common/base/mem.h"
#include "metadata/mirror.h"
#include "tests/sim/lib/env_sim.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SEGMENT_PATH "/d0/metadata/log-0000000000000001"
#define RECORDS_MAX 12
#define DISK_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct written {
    struct slice data[RECORDS_MAX];
    unsigned count;
};

static void records_write(struct mirror *mirror, struct dec *dec, struct written *written)
{
    uint32_t chain = 0;
    unsigned count = dec_u8(dec) % RECORDS_MAX + 1u;
    for (unsigned i = 0; i < count; i++) {
        size_t wanted = dec_u8(dec) * 3u;
        struct slice data = dec_raw(dec, wanted < dec_left(dec) ? wanted : dec_left(dec));
        struct enc record = ENC_INIT;
        uint32_t seed = chain;
        chain = log_record_encode(&record, mirror->cluster, i + 1, 1, 1, i + 1, seed, data);
        enum errc rc = mirror_append(mirror, enc_slice(&record), i + 1, seed, NULL);
        ASSERT(rc == ERRC_OK);
        written->data[written->count++] = data;
        enc_free(&record);
    }
}

/* Overwrites, moves and cuts, until the input ends. */
static void damage(struct env *env, struct dec *dec)
{
    struct env_file *file = NULL;
    struct env_stat stat;
    enum errc rc = env->vt->open(env, SEGMENT_PATH, 0, &file, NULL);
    ASSERT(rc == ERRC_OK);
    while (dec_left(dec) > 4) {
        rc = env->vt->stat_file(env, file, &stat, NULL);
        ASSERT(rc == ERRC_OK);
        unsigned what = dec_u8(dec);
        uint64_t at = stat.size > 0 ? dec_u16(dec) % stat.size : 0;
        uint8_t bytes[64];
        size_t count = what % sizeof(bytes) + 1;
        if (what >= 0xf0) {
            rc = env->vt->truncate(env, file, at, NULL);
        } else if (what >= 0x80) { /* bytes of another place of the log */
            rc = env->vt->pread(env, file, bytes, count, stat.size > 0 ? dec_u16(dec) % stat.size : 0, &count, NULL);
        } else {
            count = count < dec_left(dec) ? count : dec_left(dec);
            memcpy(bytes, dec_raw(dec, count).data, count);
        }
        const struct iovec part = { bytes, count };
        if (what < 0xf0) {
            rc = env->vt->pwritev(env, file, &part, 1, at, NULL);
        }
        ASSERT(rc == ERRC_OK);
    }
    env->vt->close(env, file);
}

static void contents_check(const struct log_contents *contents, const struct written *written)
{
    ASSERT(contents->count <= written->count);
    for (size_t i = 0; i < contents->count; i++) {
        ASSERT(contents->entries[i].index == i + 1);
        ASSERT(slice_equal(contents->entries[i].data, written->data[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct cluster_id cluster = { { 1 } };
    const struct disk_id disk = { { 2 } };
    struct dec dec = dec_of(slice_of(data, len));
    struct env_sim *sim = env_sim_create(1, DISK_BYTES);
    struct env *env = env_sim_env(sim);
    struct written written = { .count = 0 };
    struct mirror mirror;
    struct log_contents contents;
    enum errc rc = env->vt->mkdir(env, "/d0", NULL);
    ASSERT(rc == ERRC_OK);
    mirror_init(&mirror, env, cluster, disk, "/d0");
    rc = mirror_create(&mirror, NULL);
    ASSERT(rc == ERRC_OK);
    records_write(&mirror, &dec, &written);
    mirror_done(&mirror);
    damage(env, &dec);
    for (size_t pass = 0, count = 0; pass < 2; pass++) {
        mirror_init(&mirror, env, cluster, disk, "/d0");
        rc = mirror_log_load(&mirror, &contents, NULL);
        ASSERT(rc == ERRC_OK || (pass == 0 && rc == ERRC_CORRUPT));
        if (rc == ERRC_OK) {
            contents_check(&contents, &written);
            ASSERT(pass == 0 || contents.count == count);
            count = contents.count;
            log_contents_free(&contents);
        }
        mirror_done(&mirror);
        if (rc != ERRC_OK) {
            break;
        }
    }
    env_sim_destroy(sim);
    return 0;
}
