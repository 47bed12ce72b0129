#include "tests/sim/lib/register_check.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#define TABLE_SIZE (1u << 16) /* states remembered; beyond, old ones are searched again */

struct state {
    uint64_t done;           /* bits of operations that took effect */
    uint64_t value;
    bool used;
};

struct search {
    const struct register_op *ops;
    unsigned count;
    uint64_t needed;         /* bits of operations with a known outcome */
    struct state *seen;
};

/* True the first time; a collision forgets the older state. */
static bool state_new(struct search *s, uint64_t done, uint64_t value)
{
    uint64_t hash = (done * 0x9e3779b97f4a7c15ull ^ value) * 0xbf58476d1ce4e5b9ull;
    struct state *slot = &s->seen[hash >> 48];
    bool known = slot->used && slot->done == done && slot->value == value;
    *slot = (struct state){ done, value, true };
    return !known;
}

static bool op_fits(const struct register_op *op, uint64_t value, uint64_t *ret_value)
{
    *ret_value = op->kind == REGISTER_WRITE || op->kind == REGISTER_CREATE ? op->value : value;
    switch (op->kind) {
    case REGISTER_WRITE:
        return true;
    case REGISTER_READ:
        return value == op->value;
    case REGISTER_CREATE:
        return value == 0;
    case REGISTER_CREATE_NOT:
        return value != 0;
    }
    UNREACHABLE();
}

/* Nothing that began later than this may be next: another one had ended before. */
static uint64_t first_end(const struct search *s, uint64_t done)
{
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < s->count; i++) {
        if ((done >> i & 1) == 0 && s->ops[i].ended < first) {
            first = s->ops[i].ended;
        }
    }
    return first;
}

static bool search_from(struct search *s, uint64_t done, uint64_t value)
{
    if ((done & s->needed) == s->needed) {
        return true;
    }
    if (!state_new(s, done, value)) {
        return false;
    }
    uint64_t limit = first_end(s, done);
    for (unsigned i = 0; i < s->count; i++) {
        uint64_t next;
        if ((done >> i & 1) == 0 && s->ops[i].began <= limit && op_fits(&s->ops[i], value, &next) &&
            search_from(s, done | UINT64_C(1) << i, next)) {
            return true;
        }
    }
    return false;
}

bool register_check(const struct register_op *ops, unsigned count)
{
    struct search s = { .ops = ops, .count = count };
    ASSERT(count <= REGISTER_OPS_MAX);
    for (unsigned i = 0; i < count; i++) {
        s.needed |= ops[i].ended != UINT64_MAX ? UINT64_C(1) << i : 0;
    }
    s.seen = mem_zalloc(TABLE_SIZE * sizeof(*s.seen));
    bool holds = search_from(&s, 0, 0);
    mem_free(s.seen);
    return holds;
}
