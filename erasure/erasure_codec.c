#include "erasure/erasure_codec.h"

#include <isa-l/erasure_code.h>

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdatomic.h>

#define VERIFY_BYTES 4096 /* decoded at a time by codec_verify: stays in the first-level cache */

/* Encoding matrix and its expanded tables; a pure function of (k, m), so whoever is first fills it in for all. */
struct code_tables {
    uint8_t matrix[CODE_SHARDS_MAX * CODE_K_MAX];
    uint8_t parity[32 * CODE_K_MAX * CODE_M_MAX];
};

static _Atomic(struct code_tables *) tables_of[CODE_K_MAX + 1][CODE_M_MAX + 1];

static const struct code_tables *tables_get(const struct extent_code *code)
{
    ASSERT(extent_code_valid(code));
    _Atomic(struct code_tables *) *slot = &tables_of[code->k][code->m];
    struct code_tables *tables = atomic_load_explicit(slot, memory_order_acquire);
    if (tables != NULL) {
        return tables;
    }
    tables = mem_zalloc(sizeof(*tables));
    gf_gen_cauchy1_matrix(tables->matrix, code->k + code->m, code->k);
    if (code->m > 0) {
        ec_init_tables(code->k, code->m, tables->matrix + (size_t)code->k * code->k, tables->parity);
    }
    struct code_tables *expected = NULL;
    if (!atomic_compare_exchange_strong_explicit(slot, &expected, tables, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        mem_free(tables); /* another thread was first */
        tables = expected;
    }
    return tables;
}

/* isa-l's prototypes lack const; it reads the sources only. */
static void encode_with(size_t bytes, unsigned sources, unsigned targets, const uint8_t *tables,
                        uint8_t *const source_cells[], uint8_t *const target_cells[])
{
    uint8_t *from[CODE_SHARDS_MAX];
    uint8_t *to[CODE_SHARDS_MAX];
    memcpy(from, source_cells, sources * sizeof(from[0]));
    memcpy(to, target_cells, targets * sizeof(to[0]));
    ec_encode_data((int)bytes, (int)sources, (int)targets, (unsigned char *)(uintptr_t)tables, from, to);
}

void codec_encode(const struct extent_code *code, size_t cell_bytes, const uint8_t *const data[],
                  uint8_t *const parity[])
{
    ASSERT(extent_code_valid(code));
    ASSERT(cell_bytes <= CELL_BYTES_MAX);
    if (code->m == 0) {
        return;
    }
    if (code->matrix == MATRIX_COPIES) {
        for (unsigned i = 0; i < code->m; i++) {
            memcpy(parity[i], data[0], cell_bytes);
        }
        return;
    }
    uint8_t *from[CODE_K_MAX];
    for (unsigned i = 0; i < code->k; i++) {
        from[i] = (uint8_t *)(uintptr_t)data[i];
    }
    encode_with(cell_bytes, code->k, code->m, tables_get(code)->parity, from, parity);
}

static unsigned list_bits(uint32_t bits, unsigned limit, uint8_t *ret)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CODE_SHARDS_MAX && count < limit; i++) {
        if ((bits >> i & 1) != 0) {
            ret[count++] = (uint8_t)i;
        }
    }
    return count;
}

/* Row of a wanted cell over the sources: a row of the inverse for data, parity row times the inverse for parity. */
static void target_row(const struct code_tables *tables, const struct codec_decoder *decoder,
                       const uint8_t *inverse, unsigned target, uint8_t *ret_row)
{
    unsigned k = decoder->code.k;
    if (target < k) {
        memcpy(ret_row, inverse + (size_t)target * k, k);
        return;
    }
    for (unsigned column = 0; column < k; column++) {
        uint8_t sum = 0;
        for (unsigned i = 0; i < k; i++) {
            sum ^= gf_mul(tables->matrix[target * k + i], inverse[i * k + column]);
        }
        ret_row[column] = sum;
    }
}

static enum errc prepare_cauchy(struct codec_decoder *decoder)
{
    const struct code_tables *tables = tables_get(&decoder->code);
    unsigned k = decoder->code.k;
    uint8_t square[CODE_K_MAX * CODE_K_MAX];
    uint8_t inverse[CODE_K_MAX * CODE_K_MAX];
    uint8_t rows[CODE_SHARDS_MAX * CODE_K_MAX];
    for (unsigned i = 0; i < k; i++) {
        memcpy(square + (size_t)i * k, tables->matrix + (size_t)decoder->sources[i] * k, k);
    }
    if (gf_invert_matrix(square, inverse, (int)k) != 0) {
        return ERRC_INTERNAL;
    }
    for (unsigned i = 0; i < decoder->target_count; i++) {
        target_row(tables, decoder, inverse, decoder->targets[i], rows + (size_t)i * k);
    }
    if (decoder->target_count > 0) {
        ec_init_tables((int)k, decoder->target_count, rows, decoder->tables);
    }
    return ERRC_OK;
}

enum errc codec_decoder_prepare(struct codec_decoder *decoder, const struct extent_code *code, uint32_t have,
                                uint32_t want)
{
    ASSERT(extent_code_valid(code));
    ASSERT((have & want) == 0);
    ASSERT(((have | want) >> (code->k + code->m)) == 0);
    decoder->code = *code;
    decoder->source_count = (uint8_t)list_bits(have, code->k, decoder->sources);
    decoder->target_count = (uint8_t)list_bits(want, CODE_SHARDS_MAX, decoder->targets);
    if (decoder->source_count < code->k) {
        return ERRC_UNAVAILABLE;
    }
    return code->matrix == MATRIX_COPIES ? ERRC_OK : prepare_cauchy(decoder);
}

void codec_decoder_run(const struct codec_decoder *decoder, size_t cell_bytes, uint8_t *const cells[])
{
    ASSERT(decoder->source_count == decoder->code.k);
    uint8_t *from[CODE_K_MAX];
    uint8_t *to[CODE_SHARDS_MAX];
    for (unsigned i = 0; i < decoder->source_count; i++) {
        from[i] = cells[decoder->sources[i]];
    }
    for (unsigned i = 0; i < decoder->target_count; i++) {
        to[i] = cells[decoder->targets[i]];
        if (decoder->code.matrix == MATRIX_COPIES) {
            memcpy(to[i], from[0], cell_bytes);
        }
    }
    if (decoder->code.matrix != MATRIX_COPIES && decoder->target_count > 0) {
        encode_with(cell_bytes, decoder->source_count, decoder->target_count, decoder->tables, from, to);
    }
}

enum errc codec_decode(const struct extent_code *code, size_t cell_bytes, uint8_t *const cells[], uint32_t have,
                       uint32_t want)
{
    struct codec_decoder decoder;
    enum errc rc = codec_decoder_prepare(&decoder, code, have, want);
    if (rc == ERRC_OK) {
        codec_decoder_run(&decoder, cell_bytes, cells);
    }
    return rc;
}

/* One piece of every cell outside the subset, made again into `made` and compared. */
static bool verify_piece(const struct codec_decoder *decoder, const uint8_t *const cells[], size_t at, size_t len,
                         uint8_t *made)
{
    uint8_t *piece[CODE_SHARDS_MAX];
    for (unsigned i = 0; i < decoder->source_count; i++) {
        unsigned source = decoder->sources[i];
        piece[source] = (uint8_t *)(uintptr_t)(cells[source] + at);
    }
    for (unsigned i = 0; i < decoder->target_count; i++) {
        piece[decoder->targets[i]] = made + (size_t)i * VERIFY_BYTES;
    }
    codec_decoder_run(decoder, len, piece);
    for (unsigned i = 0; i < decoder->target_count; i++) {
        unsigned target = decoder->targets[i];
        if (memcmp(piece[target], cells[target] + at, len) != 0) {
            return false;
        }
    }
    return true;
}

enum errc codec_verify(const struct extent_code *code, size_t cell_bytes, const uint8_t *const cells[],
                       uint32_t subset)
{
    uint32_t all = (uint32_t)((1u << (code->k + code->m)) - 1);
    struct codec_decoder decoder;
    enum errc rc = codec_decoder_prepare(&decoder, code, subset, all & ~subset);
    if (rc != ERRC_OK) {
        return rc;
    }
    _Alignas(64) uint8_t made[CODE_M_MAX * VERIFY_BYTES];
    for (size_t at = 0; at < cell_bytes && rc == ERRC_OK; at += VERIFY_BYTES) {
        size_t len = cell_bytes - at < VERIFY_BYTES ? cell_bytes - at : VERIFY_BYTES;
        rc = verify_piece(&decoder, cells, at, len, made) ? ERRC_OK : ERRC_CORRUPT;
    }
    return rc;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

uint32_t codec_subset(const struct extent_code *code, uint64_t seed)
{
    /* Selection sampling: cell i is taken with (still to take) / (still to come). */
    unsigned total = (unsigned)code->k + code->m;
    unsigned wanted = code->k;
    uint32_t subset = 0;
    for (unsigned i = 0; i < total; i++) {
        seed = mix(seed + UINT64_C(0x9e3779b97f4a7c15));
        if (seed % (total - i) < wanted) {
            subset |= 1u << i;
            wanted--;
        }
    }
    ASSERT(wanted == 0);
    return subset;
}
