#include "gateway/data/data_budget.h"

#include "common/base/assert.h"

void data_budget_init(struct data_budget *budget, uint64_t limit_bytes)
{
    data_lock_init(&budget->lock);
    budget->limit_bytes = limit_bytes;
    budget->used_bytes = 0;
    list_init(&budget->waiters);
}

static bool fits(const struct data_budget *budget, uint64_t bytes)
{
    return budget->used_bytes == 0 || budget->used_bytes + bytes <= budget->limit_bytes;
}

bool data_budget_take(struct data_budget *budget, uint64_t bytes, struct data_budget_wait *wait)
{
    ASSERT(!wait->queued);
    data_lock_take(&budget->lock);
    /* Nobody overtakes: a large request would otherwise starve behind small ones. */
    bool granted = list_empty(&budget->waiters) && fits(budget, bytes);
    if (granted) {
        budget->used_bytes += bytes;
    } else {
        wait->bytes = bytes;
        wait->queued = true;
        list_append(&budget->waiters, &wait->node);
    }
    data_lock_give(&budget->lock);
    return granted;
}

bool data_budget_try(struct data_budget *budget, uint64_t bytes)
{
    data_lock_take(&budget->lock);
    bool granted = list_empty(&budget->waiters) && fits(budget, bytes);
    budget->used_bytes += granted ? bytes : 0;
    data_lock_give(&budget->lock);
    return granted;
}

void data_budget_force(struct data_budget *budget, uint64_t bytes)
{
    data_lock_take(&budget->lock);
    budget->used_bytes += bytes;
    data_lock_give(&budget->lock);
}

void data_budget_give(struct data_budget *budget, uint64_t bytes)
{
    struct list granted;
    list_init(&granted);
    data_lock_take(&budget->lock);
    ASSERT(budget->used_bytes >= bytes);
    budget->used_bytes -= bytes;
    while (!list_empty(&budget->waiters)) {
        struct data_budget_wait *wait = container_of(budget->waiters.next, struct data_budget_wait, node);
        if (!fits(budget, wait->bytes)) {
            break;
        }
        budget->used_bytes += wait->bytes;
        wait->queued = false;
        list_remove(&wait->node);
        list_append(&granted, &wait->node);
    }
    data_lock_give(&budget->lock);
    for (struct list *node = list_pop(&granted); node != NULL; node = list_pop(&granted)) {
        struct data_budget_wait *wait = container_of(node, struct data_budget_wait, node);
        executor_post(wait->executor, &wait->task);
    }
}

bool data_budget_cancel(struct data_budget *budget, struct data_budget_wait *wait)
{
    data_lock_take(&budget->lock);
    bool was_queued = wait->queued;
    if (was_queued) {
        list_remove(&wait->node);
        wait->queued = false;
    }
    data_lock_give(&budget->lock);
    if (was_queued) {
        data_budget_give(budget, 0); /* whoever stood behind may fit now */
    }
    return was_queued;
}

bool data_budget_pressed(struct data_budget *budget)
{
    data_lock_take(&budget->lock);
    bool pressed = !list_empty(&budget->waiters);
    data_lock_give(&budget->lock);
    return pressed;
}

uint64_t data_budget_used(struct data_budget *budget)
{
    data_lock_take(&budget->lock);
    uint64_t used = budget->used_bytes;
    data_lock_give(&budget->lock);
    return used;
}
