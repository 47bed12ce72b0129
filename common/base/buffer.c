#include "common/base/buffer.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <sys/mman.h>

#define CLASS_FIRST_BITS 12 /* 4 KiB */
#define CLASS_COUNT 11      /* to 4 MiB */
#define CLASS_NONE UINT32_MAX
#define FREE_BYTES_MAX (128u << 20) /* recycled memory kept, all classes together */
#define MAPPED_BYTES_MIN (128u << 10) /* blocks from here are mapped: freed ones go back to the system at once,
                                         where the heap would keep them between others */

STATIC_ASSERT(1u << (CLASS_FIRST_BITS + CLASS_COUNT - 1) == BUFFER_CAPACITY_MAX, "classes end at the maximum");

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static struct buffer *free_lists[CLASS_COUNT]; /* guarded by free_lock */
static size_t free_bytes;                      /* guarded by free_lock */
static atomic_uint_fast64_t live_bytes;

static uint32_t class_of(size_t capacity)
{
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        if (capacity <= (size_t)1 << (CLASS_FIRST_BITS + c)) {
            return c;
        }
    }
    return CLASS_NONE;
}

static struct buffer *free_list_pop(uint32_t size_class)
{
    (void)pthread_mutex_lock(&free_lock); /* cannot fail: default mutex, never locked twice here */
    struct buffer *buffer = free_lists[size_class];
    if (buffer != NULL) {
        free_lists[size_class] = buffer->next_free;
        free_bytes -= buffer->capacity;
    }
    (void)pthread_mutex_unlock(&free_lock);
    return buffer;
}

static bool free_list_push(struct buffer *buffer)
{
    bool kept = false;
    (void)pthread_mutex_lock(&free_lock);
    if (free_bytes + buffer->capacity <= FREE_BYTES_MAX) {
        buffer->next_free = free_lists[buffer->size_class];
        free_lists[buffer->size_class] = buffer;
        free_bytes += buffer->capacity;
        kept = true;
    }
    (void)pthread_mutex_unlock(&free_lock);
    return kept;
}

static uint8_t *block_new(size_t capacity)
{
    if (capacity < MAPPED_BYTES_MIN) {
        return mem_aligned(BUFFER_ALIGNMENT, capacity);
    }
    void *block = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(block != MAP_FAILED); /* as mem.h: out of memory ends the process */
    return block;
}

struct buffer *buffer_new(size_t capacity)
{
    uint32_t size_class = class_of(capacity);
    struct buffer *buffer = size_class != CLASS_NONE ? free_list_pop(size_class) : NULL;
    if (buffer == NULL) {
        buffer = mem_zalloc(sizeof(*buffer));
        buffer->capacity = size_class != CLASS_NONE
                               ? (size_t)1 << (CLASS_FIRST_BITS + size_class)
                               : (capacity + BUFFER_ALIGNMENT - 1) & ~(size_t)(BUFFER_ALIGNMENT - 1);
        buffer->data = block_new(buffer->capacity);
        buffer->size_class = size_class;
    }
    buffer->len = 0;
    buffer->next_free = NULL;
    atomic_store(&buffer->references, 1);
    atomic_fetch_add(&live_bytes, buffer->capacity);
    return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
    unsigned before = atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return buffer;
}

static void buffer_destroy(struct buffer *buffer)
{
    if (buffer->capacity >= MAPPED_BYTES_MIN) {
        int rc = munmap(buffer->data, buffer->capacity);
        ASSERT(rc == 0);
    } else {
        mem_free(buffer->data);
    }
    mem_free(buffer);
}

void buffer_unref(struct buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    unsigned before = atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before > 1) {
        return;
    }
    atomic_fetch_sub(&live_bytes, buffer->capacity);
    if (buffer->size_class == CLASS_NONE || !free_list_push(buffer)) {
        buffer_destroy(buffer);
    }
}

uint64_t buffer_live_bytes(void)
{
    return atomic_load(&live_bytes);
}

void buffer_trim(void)
{
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        struct buffer *buffer;
        while ((buffer = free_list_pop(c)) != NULL) {
            buffer_destroy(buffer);
        }
    }
}
