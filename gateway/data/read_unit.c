#include "gateway/data/read_unit.h"

#include "common/base/assert.h"
#include "common/base/crc32c.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "common/rpc/rpc_schema.h"
#include "erasure/erasure_codec.h"
#include "gateway/data/shard_call.h"

#define LIMITED_MAX 200 /* asks of a full node, one a tick, before its shard counts as unavailable */

static void unit_step(struct read_unit *unit);

static unsigned shard_count(const struct read_unit *unit)
{
    return (unsigned)unit->extent->code.k + unit->extent->code.m;
}

static bool wanted(const struct unit_shard *s)
{
    return s->want_first < s->want_end;
}

enum errc read_unit_new(struct data_store *store, struct executor *executor, const struct extent *extent,
                        void (*on_change)(void *data), void *data, struct read_unit **ret_unit)
{
    struct read_unit *unit = mem_zalloc(sizeof(*unit));
    list_init(&unit->node);
    list_init(&unit->calls);
    unit->store = store;
    unit->executor = executor;
    unit->extent = extent;
    unit->on_change = on_change;
    unit->data = data;
    enum errc rc = geometry_init(&unit->geometry, extent->stored_bytes, &extent->code);
    if (rc != ERRC_OK || extent->transform.kind != 0) {
        mem_free(unit);
        return rc != ERRC_OK ? ERRC_CORRUPT : ERRC_FORMAT;
    }
    rc = cluster_map_locate(store->map, extent, unit->where);
    if (rc != ERRC_OK) {
        mem_free(unit);
        return rc;
    }
    for (unsigned i = 0; i < shard_count(unit); i++) {
        struct unit_shard *s = &unit->shards[i];
        s->state = unit->where[i].readable && unit->where[i].channel != NULL ? UNIT_UNTRIED : UNIT_DOUBTED;
        if ((extent->missing >> i & 1) != 0) {
            s->state = UNIT_MARKED;
        }
    }
    *ret_unit = unit;
    return ERRC_OK;
}

void read_unit_want(struct read_unit *unit, unsigned shard, uint32_t first, uint32_t end)
{
    ASSERT(shard < shard_count(unit));
    ASSERT(end <= unit->geometry.stripe_count);
    struct unit_shard *s = &unit->shards[shard];
    if (!wanted(s)) {
        s->want_first = first;
        s->want_end = end;
        return;
    }
    s->want_first = first < s->want_first ? first : s->want_first;
    s->want_end = end > s->want_end ? end : s->want_end;
}

void read_unit_want_range(struct read_unit *unit, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset; at < offset + length;) {
        struct geometry_piece piece = geometry_piece_at(&unit->geometry, at, offset + length - at);
        read_unit_want(unit, piece.cell, piece.stripe, piece.stripe + 1);
        at += piece.length;
    }
}

/* Bytes of cells [first, end) of any shard. */
static uint64_t run_bytes(const struct read_unit *unit, uint32_t first, uint32_t end)
{
    ASSERT(first < end);
    return geometry_cell_offset(&unit->geometry, end - 1) + geometry_stripe_cell_bytes(&unit->geometry, end - 1) -
           geometry_cell_offset(&unit->geometry, first);
}

uint64_t read_unit_bytes(const struct read_unit *unit)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < shard_count(unit); i++) {
        if (wanted(&unit->shards[i])) {
            sum += run_bytes(unit, unit->shards[i].want_first, unit->shards[i].want_end);
        }
    }
    return sum;
}

/* ---- one shard ---- */

static void shard_bad(struct read_unit *unit, unsigned shard, enum errc status)
{
    struct unit_shard *s = &unit->shards[shard];
    s->state = UNIT_BAD;
    s->status = status;
    bool news = (unit->extent->missing >> shard & 1) == 0;
    if (news && (status == ERRC_NOT_FOUND || status == ERRC_CORRUPT) && unit->store->repair != NULL) {
        unit->store->repair->suspect(unit->store->repair, unit->extent, shard, status);
    }
}

/* Is the reply what the record says and what its checksums say? */
static enum errc reply_check(const struct read_unit *unit, const struct shard_call *call)
{
    struct node_shard_read_reply reply;
    if (node_shard_read_reply_decode(enc_slice(&call->call.reply), &reply) != ERRC_OK ||
        call->call.reply_payload_count != 1) {
        return ERRC_CORRUPT;
    }
    const struct buffer *buffer = call->call.reply_payloads[0];
    uint32_t end = call->first_cell + call->cell_count;
    if (reply.cell_bytes != unit->extent->code.cell_bytes || reply.shard_cell_count != unit->geometry.stripe_count ||
        reply.cell_crcs.len != (size_t)call->cell_count * 4 ||
        buffer->len != run_bytes(unit, call->first_cell, end)) {
        return ERRC_CORRUPT;
    }
    const uint8_t *at = buffer->data;
    for (uint32_t stripe = call->first_cell; stripe < end; stripe++) {
        uint32_t bytes = geometry_stripe_cell_bytes(&unit->geometry, stripe);
        if (crc32c(at, bytes) != load_le32(reply.cell_crcs.data + (size_t)(stripe - call->first_cell) * 4) &&
            !PLANT(PLANT_CHECKSUM_NOT_CHECKED)) {
            return ERRC_CORRUPT;
        }
        at += bytes;
    }
    return ERRC_OK;
}

/* Moving average over about sixteen reads; a lost update between threads does no harm. */
static void latency_note(struct data_store *store, uint64_t sample_ns)
{
    uint64_t average = atomic_load_explicit(&store->read_latency_ns, memory_order_relaxed);
    average = average == 0 ? sample_ns : average - average / 16 + sample_ns / 16;
    atomic_store_explicit(&store->read_latency_ns, average, memory_order_relaxed);
}

static void shard_good(struct read_unit *unit, struct shard_call *call)
{
    struct unit_shard *s = &unit->shards[call->shard];
    buffer_unref(s->buffer);
    s->buffer = call->call.reply_payloads[0];
    call->call.reply_payload_count = 0; /* the reference is ours now */
    s->have_first = call->first_cell;
    s->have_end = call->first_cell + call->cell_count;
    s->state = UNIT_GOOD;
    latency_note(unit->store, env_now_ns(unit->store->env) - call->started_ns);
}

static void read_done(struct shard_call *call)
{
    struct read_unit *unit = call->owner;
    struct unit_shard *s = &unit->shards[call->shard];
    enum errc rc = call->status;
    if (rc == ERRC_OK) {
        rc = reply_check(unit, call);
    }
    if (rc == ERRC_OK) {
        shard_good(unit, call);
    } else if (rc == ERRC_LIMIT && ++s->limited < LIMITED_MAX) {
        s->state = UNIT_LIMITED;
    } else {
        shard_bad(unit, call->shard, rc);
    }
    shard_call_free(call);
    if (unit->state == UNIT_READING) {
        unit_step(unit);
        if (unit->state != UNIT_READING) {
            unit->on_change(unit->data); /* may free the unit */
        }
    }
}

static void shard_ask(struct read_unit *unit, unsigned shard, uint32_t first, uint32_t end)
{
    struct unit_shard *s = &unit->shards[shard];
    struct shard_call *call = shard_call_new(unit->store, unit->executor, RPC_NODE_SHARD_READ, &unit->where[shard],
                                             shard, unit, read_done);
    call->first_cell = first;
    call->cell_count = end - first;
    struct node_shard_read message = {
        .disk = call->disk,
        .extent = unit->extent->id,
        .index = (uint8_t)shard,
        .first_cell = first,
        .cell_count = end - first,
    };
    node_shard_read_encode(&call->head, &message);
    s->state = UNIT_ASKED;
    s->ask_first = first;
    s->ask_end = end;
    s->asked_ns = call->started_ns;
    list_append(&unit->calls, &call->node);
    shard_call_start(call, unit->where[shard].channel);
}

/* ---- the whole ---- */

static void unit_fail(struct read_unit *unit)
{
    /* Damage is only said to be damage when every shard that is not good was looked at and is lost or wrong. */
    enum errc status = ERRC_CORRUPT;
    for (unsigned i = 0; i < shard_count(unit); i++) {
        const struct unit_shard *s = &unit->shards[i];
        if (s->state == UNIT_BAD && s->status != ERRC_CORRUPT && s->status != ERRC_NOT_FOUND) {
            status = ERRC_UNAVAILABLE;
        }
        if (s->state == UNIT_BAD && !unit->where[i].readable) {
            status = ERRC_UNAVAILABLE;
        }
    }
    unit->state = UNIT_FAILED;
    unit->status = status;
}

/* Wanted, and not to be had from its own disk, as far as known now. */
static bool shard_lost(const struct unit_shard *s)
{
    return wanted(s) && (s->state == UNIT_BAD || s->state == UNIT_LATE || s->state == UNIT_DOUBTED ||
                         s->state == UNIT_MARKED);
}

/* Stripes that must be decoded: one run over all lost shards. */
static uint32_t lost_run(const struct read_unit *unit, uint32_t *ret_first, uint32_t *ret_end)
{
    uint32_t lost = 0;
    uint32_t first = UINT32_MAX;
    uint32_t end = 0;
    for (unsigned i = 0; i < shard_count(unit); i++) {
        const struct unit_shard *s = &unit->shards[i];
        if (shard_lost(s)) {
            lost |= 1u << i;
            first = s->want_first < first ? s->want_first : first;
            end = s->want_end > end ? s->want_end : end;
        }
    }
    *ret_first = first;
    *ret_end = end;
    return lost;
}

static bool covers(uint32_t have_first, uint32_t have_end, uint32_t first, uint32_t end)
{
    return have_first <= first && have_end >= end;
}

/* Good shards that hold all of [first, end), as bits; *ret_coming counts calls that will, if they go well. */
static uint32_t sources_now(const struct read_unit *unit, uint32_t first, uint32_t end, unsigned *ret_coming)
{
    uint32_t sources = 0;
    unsigned coming = 0;
    for (unsigned i = 0; i < shard_count(unit); i++) {
        const struct unit_shard *s = &unit->shards[i];
        if (s->state == UNIT_GOOD && covers(s->have_first, s->have_end, first, end)) {
            sources |= 1u << i;
        }
        coming += (s->state == UNIT_ASKED || s->state == UNIT_LIMITED) && covers(s->ask_first, s->ask_end, first, end);
    }
    *ret_coming = coming;
    return sources;
}

/* The next shard to ask as a source: those already good but too short, then untried, doubted, marked ones. -1: none. */
static int source_next(const struct read_unit *unit, uint32_t first, uint32_t end)
{
    static const enum unit_shard_state order[] = { UNIT_GOOD, UNIT_UNTRIED, UNIT_DOUBTED, UNIT_MARKED };
    for (unsigned pass = 0; pass < sizeof(order) / sizeof(order[0]); pass++) {
        for (unsigned i = 0; i < shard_count(unit); i++) {
            const struct unit_shard *s = &unit->shards[i];
            bool useful = s->state != UNIT_GOOD || !covers(s->have_first, s->have_end, first, end);
            if (s->state == order[pass] && useful) {
                return (int)i;
            }
        }
    }
    return -1;
}

static void source_ask(struct read_unit *unit, unsigned shard, uint32_t first, uint32_t end)
{
    const struct unit_shard *s = &unit->shards[shard];
    if (wanted(s)) {
        first = s->want_first < first ? s->want_first : first;
        end = s->want_end > end ? s->want_end : end;
    }
    shard_ask(unit, shard, first, end);
}

/* Fresh buffers for the lost cells over [first, end); copies share the source's. */
static void decode_targets(struct read_unit *unit, uint32_t lost, unsigned source, uint32_t first, uint32_t end)
{
    for (unsigned i = 0; i < shard_count(unit); i++) {
        struct unit_shard *s = &unit->shards[i];
        if ((lost >> i & 1) == 0) {
            continue;
        }
        buffer_unref(s->buffer);
        s->have_first = first;
        s->have_end = end;
        if (unit->extent->code.matrix == MATRIX_COPIES) {
            s->buffer = buffer_ref(unit->shards[source].buffer);
            s->have_first = unit->shards[source].have_first;
            s->have_end = unit->shards[source].have_end;
        } else {
            s->buffer = buffer_new(run_bytes(unit, first, end));
            s->buffer->len = run_bytes(unit, first, end);
        }
    }
}

static uint8_t *cell_at(const struct read_unit *unit, unsigned shard, uint32_t stripe)
{
    const struct unit_shard *s = &unit->shards[shard];
    return s->buffer->data + geometry_cell_offset(&unit->geometry, stripe) -
           geometry_cell_offset(&unit->geometry, s->have_first);
}

static enum errc unit_decode(struct read_unit *unit, uint32_t sources, uint32_t lost, uint32_t first, uint32_t end)
{
    unsigned source = (unsigned)__builtin_ctz(sources);
    decode_targets(unit, lost, source, first, end);
    unit->decoded = true;
    atomic_fetch_add(&unit->store->reads_decoded, end - first);
    if (unit->extent->code.matrix == MATRIX_COPIES) {
        return ERRC_OK;
    }
    struct codec_decoder decoder;
    enum errc rc = codec_decoder_prepare(&decoder, &unit->extent->code, sources, lost);
    for (uint32_t stripe = first; rc == ERRC_OK && stripe < end; stripe++) {
        uint8_t *cells[CODE_SHARDS_MAX] = { NULL };
        for (unsigned i = 0; i < shard_count(unit); i++) {
            if (((sources | lost) >> i & 1) != 0) {
                cells[i] = cell_at(unit, i, stripe);
            }
        }
        codec_decoder_run(&decoder, geometry_stripe_cell_bytes(&unit->geometry, stripe), cells);
    }
    return rc;
}

/* Every wanted shard that is not lost is there. */
static bool rest_good(const struct read_unit *unit)
{
    for (unsigned i = 0; i < shard_count(unit); i++) {
        const struct unit_shard *s = &unit->shards[i];
        if (wanted(s) && !shard_lost(s) && s->state != UNIT_GOOD) {
            return false;
        }
    }
    return true;
}

static bool any_under_way(const struct read_unit *unit)
{
    for (unsigned i = 0; i < shard_count(unit); i++) {
        enum unit_shard_state state = unit->shards[i].state;
        if (state == UNIT_LATE || state == UNIT_ASKED || state == UNIT_LIMITED) {
            return true;
        }
    }
    return false;
}

static void unit_recover(struct read_unit *unit, uint32_t lost, uint32_t first, uint32_t end)
{
    unsigned coming = 0;
    uint32_t sources = sources_now(unit, first, end, &coming);
    unsigned k = unit->extent->code.k;
    while ((unsigned)__builtin_popcount(sources) + coming < k) {
        int next = source_next(unit, first, end);
        if (next < 0) {
            /* Answers lead here again: of late ones, and of those that were asked for less and can be asked for more. */
            if (coming == 0 && !any_under_way(unit)) {
                unit_fail(unit);
            }
            return;
        }
        source_ask(unit, (unsigned)next, first, end);
        coming++;
        lost &= ~(1u << (unsigned)next); /* a doubted or marked shard that is asked after all */
    }
    if ((unsigned)__builtin_popcount(sources) < k || !rest_good(unit)) {
        return;
    }
    enum errc rc = unit_decode(unit, sources, lost, first, end);
    unit->state = rc == ERRC_OK ? UNIT_READY : UNIT_FAILED;
    unit->status = rc;
}

static void unit_step(struct read_unit *unit)
{
    ASSERT(unit->state == UNIT_READING);
    for (unsigned i = 0; i < shard_count(unit); i++) {
        const struct unit_shard *s = &unit->shards[i];
        if (wanted(s) && s->state == UNIT_UNTRIED) {
            shard_ask(unit, i, s->want_first, s->want_end);
        }
    }
    uint32_t first = 0;
    uint32_t end = 0;
    uint32_t lost = lost_run(unit, &first, &end);
    if (lost != 0) {
        unit_recover(unit, lost, first, end);
    } else if (rest_good(unit)) {
        unit->state = UNIT_READY;
    }
}

void read_unit_start(struct read_unit *unit)
{
    unit_step(unit);
}

/* What is slow is asked of others too; what is dead is given up; full nodes are asked again. */
static bool shard_tick(struct read_unit *unit, unsigned shard, uint64_t now_ns, uint64_t hedge_ns)
{
    struct unit_shard *s = &unit->shards[shard];
    uint64_t timeout_ns = unit->store->config.call_timeout_ms * UINT64_C(1000000);
    if (s->state == UNIT_LIMITED) {
        shard_ask(unit, shard, s->ask_first, s->ask_end);
        return false;
    }
    if ((s->state == UNIT_ASKED || s->state == UNIT_LATE) && now_ns - s->asked_ns > timeout_ns) {
        list_for_each(node, &unit->calls) {
            struct shard_call *call = container_of(node, struct shard_call, node);
            if (call->shard == shard) {
                shard_call_detach(call);
                break;
            }
        }
        cluster_map_disk_failed(unit->store->map, unit->where[shard].disk, ERRC_TIMEOUT);
        shard_bad(unit, shard, ERRC_TIMEOUT);
        return true;
    }
    if (s->state == UNIT_ASKED && now_ns - s->asked_ns > hedge_ns) {
        s->state = UNIT_LATE;
        atomic_fetch_add(&unit->store->reads_hedged, 1);
        return true;
    }
    return false;
}

void read_unit_tick(struct read_unit *unit, uint64_t now_ns, uint64_t hedge_ns)
{
    if (unit->state != UNIT_READING) {
        return;
    }
    bool changed = false;
    for (unsigned i = 0; i < shard_count(unit); i++) {
        changed |= shard_tick(unit, i, now_ns, hedge_ns);
    }
    if (changed) {
        unit_step(unit);
    }
}

struct slice read_unit_cell(const struct read_unit *unit, unsigned shard, uint32_t stripe, struct buffer **ret_buffer)
{
    ASSERT(unit->state == UNIT_READY);
    const struct unit_shard *s = &unit->shards[shard];
    ASSERT(s->have_first <= stripe && stripe < s->have_end);
    *ret_buffer = s->buffer;
    return slice_of(cell_at(unit, shard, stripe), geometry_stripe_cell_bytes(&unit->geometry, stripe));
}

void read_unit_free(struct read_unit *unit)
{
    list_remove(&unit->node);
    while (!list_empty(&unit->calls)) {
        shard_call_detach(container_of(unit->calls.next, struct shard_call, node));
    }
    for (unsigned i = 0; i < shard_count(unit); i++) {
        buffer_unref(unit->shards[i].buffer);
    }
    mem_free(unit);
}
