#include "metadata/voter_window.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#define CAPACITY_MIN 64

void window_init(struct voter_window *window, uint64_t next, uint64_t base_term, uint32_t base_chain)
{
    *window = (struct voter_window){ .first = next, .next = next, .base_term = base_term, .base_chain = base_chain };
}

void window_done(struct voter_window *window)
{
    window_drop_front(window, window->next);
    mem_free(window->entries);
    *window = (struct voter_window){ .entries = NULL };
}

struct voter_entry *window_at(const struct voter_window *window, uint64_t index)
{
    return index >= window->first && index < window->next ? &window->entries[index % window->capacity] : NULL;
}

static void grow(struct voter_window *window)
{
    size_t capacity = window->capacity > 0 ? 2 * window->capacity : CAPACITY_MIN;
    struct voter_entry *entries = mem_zalloc(capacity * sizeof(*entries));
    for (uint64_t index = window->first; index < window->next; index++) {
        entries[index % capacity] = *window_at(window, index);
    }
    mem_free(window->entries);
    window->entries = entries;
    window->capacity = capacity;
}

struct voter_entry *window_push(struct voter_window *window, uint64_t term, uint8_t type)
{
    if (window->next - window->first == window->capacity) {
        grow(window);
    }
    struct voter_entry *entry = &window->entries[window->next++ % window->capacity];
    *entry = (struct voter_entry){ .term = term, .type = type };
    return entry;
}

uint64_t window_term(const struct voter_window *window, uint64_t index)
{
    const struct voter_entry *entry = window_at(window, index);
    return entry != NULL ? entry->term : index + 1 == window->first ? window->base_term : 0;
}

uint32_t window_chain(const struct voter_window *window, uint64_t index)
{
    const struct voter_entry *entry = window_at(window, index);
    ASSERT(entry != NULL ? entry->chained : index + 1 == window->first);
    return entry != NULL ? entry->chain : window->base_chain;
}

static void entry_drop(struct voter_window *window, struct voter_entry *entry)
{
    ASSERT(entry->calls == NULL);
    window->bytes -= entry->data.len;
    enc_free(&entry->data);
}

void window_drop_front(struct voter_window *window, uint64_t first)
{
    ASSERT(first <= window->next);
    for (; window->first < first; window->first++) {
        struct voter_entry *entry = window_at(window, window->first);
        window->base_term = entry->term;
        window->base_chain = entry->chain;
        entry_drop(window, entry);
    }
}

void window_drop_back(struct voter_window *window, uint64_t next)
{
    ASSERT(next >= window->first);
    while (window->next > next) {
        entry_drop(window, window_at(window, window->next - 1));
        window->next--;
    }
}
