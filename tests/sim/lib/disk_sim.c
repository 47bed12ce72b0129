#include "tests/sim/lib/disk_sim.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "tests/sim/lib/env_sim.h"

#define SECTOR_BYTES 512
#define BLOCK_BYTES 4096 /* unit of space */

struct plane {
    uint8_t *data;
    uint64_t size;
    uint64_t capacity; /* of data; behind size all is zero */
};

struct sim_name {
    char *name;
    struct sim_node *live;    /* NULL: not there */
    struct sim_node *durable;
    struct sim_name *next;
};

/* LOST: written, and no later sync writes it, for one that should have has failed (what Linux does with such pages). */
enum dirtiness { CLEAN, DIRTY, LOST };

struct sim_node {
    uint64_t inode;
    bool is_dir;
    struct sim_name *names;   /* folder */
    struct plane live, durable;
    uint8_t *dirty;           /* one byte for each sector of the live plane's capacity: enum dirtiness */
    uint8_t *allocated;       /* one byte for each block of it */
    struct sim_node *next;    /* of all nodes of the disk */
    struct sim_node *clone;   /* while a crash is made */
};

struct disk_sim {
    uint64_t bytes;
    uint64_t next_inode;
    struct sim_node *nodes;
    struct sim_node *root;
};

/* ---- planes ---- */

static void plane_reserve(struct plane *plane, uint64_t size)
{
    if (size > plane->capacity) {
        uint64_t capacity = plane->capacity > 0 ? plane->capacity : BLOCK_BYTES;
        while (capacity < size) {
            capacity *= 2;
        }
        plane->data = mem_realloc(plane->data, capacity);
        memset(plane->data + plane->capacity, 0, capacity - plane->capacity);
        plane->capacity = capacity;
    }
}

static void plane_resize(struct plane *plane, uint64_t size)
{
    plane_reserve(plane, size);
    if (size < plane->size) {
        memset(plane->data + size, 0, plane->size - size);
    }
    plane->size = size;
}

static void node_reserve(struct sim_node *node, uint64_t size)
{
    uint64_t before = node->live.capacity;
    plane_reserve(&node->live, size);
    uint64_t after = node->live.capacity;
    if (after != before) {
        node->dirty = mem_realloc(node->dirty, after / SECTOR_BYTES);
        memset(node->dirty + before / SECTOR_BYTES, 0, (after - before) / SECTOR_BYTES);
        node->allocated = mem_realloc(node->allocated, after / BLOCK_BYTES);
        memset(node->allocated + before / BLOCK_BYTES, 0, (after - before) / BLOCK_BYTES);
    }
}

static void node_mark(uint8_t *marks, uint64_t unit, uint64_t offset, uint64_t len, uint8_t value)
{
    for (uint64_t i = offset / unit; len > 0 && i <= (offset + len - 1) / unit; i++) {
        marks[i] = value;
    }
}

static uint64_t node_allocated_bytes(const struct sim_node *node)
{
    uint64_t blocks = 0;
    for (uint64_t i = 0; i < node->live.capacity / BLOCK_BYTES; i++) {
        blocks += node->allocated[i];
    }
    return blocks * BLOCK_BYTES;
}

/* ---- names ---- */

static struct sim_node *node_new(struct disk_sim *disk, bool is_dir)
{
    struct sim_node *node = mem_zalloc(sizeof(*node));
    node->inode = disk->next_inode++;
    node->is_dir = is_dir;
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

static struct sim_name *folder_name(const struct sim_node *folder, const char *name, size_t len)
{
    for (struct sim_name *each = folder->names; each != NULL; each = each->next) {
        if (strlen(each->name) == len && memcmp(each->name, name, len) == 0) {
            return each;
        }
    }
    return NULL;
}

static struct sim_name *folder_add(struct sim_node *folder, const char *name, size_t len)
{
    struct sim_name *entry = folder_name(folder, name, len);
    if (entry == NULL) {
        entry = mem_zalloc(sizeof(*entry));
        entry->name = mem_strndup(name, len);
        entry->next = folder->names;
        folder->names = entry;
    }
    return entry;
}

/* The folder that holds the last part of the path, and that part; NULL if there is none. */
static struct sim_node *path_folder(struct disk_sim *disk, const char *path, const char **ret_name,
                                    size_t *ret_len)
{
    struct sim_node *folder = disk->root;
    ASSERT(path[0] == '/');
    path++;
    while (true) {
        const char *slash = strchr(path, '/');
        if (slash == NULL) {
            *ret_name = path;
            *ret_len = strlen(path);
            return folder;
        }
        struct sim_name *entry = folder_name(folder, path, (size_t)(slash - path));
        if (entry == NULL || entry->live == NULL || !entry->live->is_dir) {
            return NULL;
        }
        folder = entry->live;
        path = slash + 1;
    }
}

static struct sim_name *path_entry(struct disk_sim *disk, const char *path)
{
    const char *name;
    size_t len;
    struct sim_node *folder = path_folder(disk, path, &name, &len);
    return folder == NULL ? NULL : folder_name(folder, name, len);
}

struct sim_node *disk_sim_find(struct disk_sim *disk, const char *path)
{
    if (strcmp(path, "/") == 0) {
        return disk->root;
    }
    struct sim_name *entry = path_entry(disk, path);
    return entry == NULL ? NULL : entry->live;
}

struct sim_node *disk_sim_create(struct disk_sim *disk, const char *path, bool is_dir)
{
    const char *name;
    size_t len;
    struct sim_node *folder = path_folder(disk, path, &name, &len);
    if (folder == NULL) {
        return NULL;
    }
    struct sim_name *entry = folder_add(folder, name, len);
    ASSERT(entry->live == NULL);
    entry->live = node_new(disk, is_dir);
    return entry->live;
}

enum errc disk_sim_link(struct disk_sim *disk, const char *source, const char *target, bool replace)
{
    struct sim_node *node = disk_sim_find(disk, source);
    const char *name;
    size_t len;
    struct sim_node *folder = path_folder(disk, target, &name, &len);
    if (node == NULL || folder == NULL) {
        return ERRC_NOT_FOUND;
    }
    struct sim_name *entry = folder_add(folder, name, len);
    if (entry->live != NULL && !replace) {
        return ERRC_EXISTS;
    }
    entry->live = node;
    return ERRC_OK;
}

enum errc disk_sim_unlink(struct disk_sim *disk, const char *path)
{
    struct sim_name *entry = path_entry(disk, path);
    if (entry == NULL || entry->live == NULL) {
        return ERRC_NOT_FOUND;
    }
    entry->live = NULL;
    return ERRC_OK;
}

bool disk_sim_empty(const struct sim_node *folder)
{
    for (const struct sim_name *each = folder->names; each != NULL; each = each->next) {
        if (each->live != NULL) {
            return false;
        }
    }
    return true;
}

void disk_sim_sync_names(struct sim_node *folder)
{
    ASSERT(folder->is_dir);
    for (struct sim_name *each = folder->names; each != NULL; each = each->next) {
        each->durable = each->live;
    }
}

void disk_sim_list(struct sim_node *folder, void (*visit)(void *data, const char *name), void *data)
{
    for (struct sim_name *each = folder->names; each != NULL; each = each->next) {
        if (each->live != NULL) {
            visit(data, each->name);
        }
    }
}

/* ---- bytes ---- */

size_t disk_sim_read(const struct sim_node *node, void *target, size_t len, uint64_t offset)
{
    if (offset >= node->live.size) {
        return 0;
    }
    uint64_t left = node->live.size - offset;
    size_t got = len < left ? len : (size_t)left;
    memcpy(target, node->live.data + offset, got);
    return got;
}

static bool node_linked(const struct disk_sim *disk, const struct sim_node *node)
{
    for (const struct sim_node *folder = disk->nodes; folder != NULL; folder = folder->next) {
        for (const struct sim_name *name = folder->names; name != NULL; name = name->next) {
            if (name->live == node) {
                return true;
            }
        }
    }
    return false;
}

void disk_sim_space(const struct disk_sim *disk, uint64_t *ret_total, uint64_t *ret_free)
{
    uint64_t used = 0;
    for (const struct sim_node *node = disk->nodes; node != NULL; node = node->next) {
        used += node->live.capacity > 0 && node_linked(disk, node) ? node_allocated_bytes(node) : 0;
    }
    *ret_total = disk->bytes;
    *ret_free = used < disk->bytes ? disk->bytes - used : 0;
}

bool disk_sim_allocate(struct disk_sim *disk, struct sim_node *node, uint64_t offset, uint64_t len)
{
    node_reserve(node, offset + len);
    uint64_t fresh = 0;
    for (uint64_t i = offset / BLOCK_BYTES; len > 0 && i <= (offset + len - 1) / BLOCK_BYTES; i++) {
        fresh += node->allocated[i] == 0 ? BLOCK_BYTES : 0;
    }
    uint64_t total, free_bytes;
    if (fresh > 0) {
        disk_sim_space(disk, &total, &free_bytes);
        if (fresh > free_bytes) {
            return false;
        }
        node_mark(node->allocated, BLOCK_BYTES, offset, len, 1);
    }
    if (offset + len > node->live.size) {
        plane_resize(&node->live, offset + len);
    }
    return true;
}

bool disk_sim_write(struct disk_sim *disk, struct sim_node *node, const void *source, size_t len,
                    uint64_t offset)
{
    if (!disk_sim_allocate(disk, node, offset, len)) {
        return false;
    }
    memcpy(node->live.data + offset, source, len);
    node_mark(node->dirty, SECTOR_BYTES, offset, len, 1);
    return true;
}

void disk_sim_punch(struct sim_node *node, uint64_t offset, uint64_t len)
{
    if (offset >= node->live.size) {
        return;
    }
    len = offset + len > node->live.size ? node->live.size - offset : len;
    memset(node->live.data + offset, 0, len);
    node_mark(node->dirty, SECTOR_BYTES, offset, len, 1);
    for (uint64_t i = (offset + BLOCK_BYTES - 1) / BLOCK_BYTES; (i + 1) * BLOCK_BYTES <= offset + len; i++) {
        node->allocated[i] = 0;
    }
}

void disk_sim_truncate(struct sim_node *node, uint64_t size)
{
    node_reserve(node, size);
    if (size < node->live.size) {
        node_mark(node->dirty, SECTOR_BYTES, size, node->live.size - size, 1);
        for (uint64_t i = (size + BLOCK_BYTES - 1) / BLOCK_BYTES; i < node->live.capacity / BLOCK_BYTES; i++) {
            node->allocated[i] = 0;
        }
    }
    plane_resize(&node->live, size);
}

void disk_sim_sync(struct sim_node *node)
{
    plane_resize(&node->durable, node->live.size);
    for (uint64_t at = 0; at < node->live.size; at += SECTOR_BYTES) {
        if (node->dirty[at / SECTOR_BYTES] != LOST) {
            uint64_t left = node->live.size - at;
            memcpy(node->durable.data + at, node->live.data + at, left < SECTOR_BYTES ? left : SECTOR_BYTES);
            node->dirty[at / SECTOR_BYTES] = CLEAN;
        }
    }
}

void disk_sim_sync_fail(struct sim_node *node)
{
    for (uint64_t at = 0; at < node->live.size; at += SECTOR_BYTES) {
        if (node->dirty[at / SECTOR_BYTES] == DIRTY) {
            node->dirty[at / SECTOR_BYTES] = LOST;
        }
    }
}

struct env_stat disk_sim_stat(const struct sim_node *node)
{
    return (struct env_stat){
        .device = 1,
        .inode = node->inode,
        .size = node->live.size,
        .allocated_bytes = node_allocated_bytes(node),
        .is_dir = node->is_dir,
        .mode = node->is_dir ? 0700 : 0600,
    };
}

bool disk_sim_flip(struct sim_node *node, struct env_sim *sim)
{
    if (node->live.size == 0) {
        return false;
    }
    uint64_t at = env_sim_random(sim) % node->live.size;
    uint8_t bit = (uint8_t)(1u << (env_sim_random(sim) % 8));
    node->live.data[at] ^= bit;
    if (at < node->durable.size) {
        node->durable.data[at] ^= bit;
    }
    return true;
}

/* ---- power cuts ---- */

static const uint8_t *plane_sector(const struct plane *plane, uint64_t at)
{
    static const uint8_t zeros[SECTOR_BYTES];
    return at + SECTOR_BYTES <= plane->capacity ? plane->data + at : zeros;
}

static void crash_sector(const struct sim_node *node, uint64_t at, uint8_t *target, struct env_sim *sim)
{
    const uint8_t *before = plane_sector(&node->durable, at);
    const uint8_t *after = plane_sector(&node->live, at);
    bool dirty = at < node->live.capacity && node->dirty[at / SECTOR_BYTES] == DIRTY;
    uint64_t choice = dirty ? env_sim_random(sim) % 8 : 0;
    size_t fresh = 0;
    if (!dirty) {
        after = before;
    } else if (choice < 4) {
        fresh = SECTOR_BYTES;
    } else if (choice == 7) {
        fresh = env_sim_random(sim) % SECTOR_BYTES; /* torn */
    }
    memcpy(target, after, fresh);
    memcpy(target + fresh, before + fresh, SECTOR_BYTES - fresh);
}

/* How much of what is unsynced survives differs from cut to cut: nothing, all, or any mixture. */
static void crash_bytes(const struct sim_node *node, struct sim_node *clone, struct env_sim *sim)
{
    uint64_t mode = env_sim_random(sim) % 4;
    bool size_kept = mode == 0 ? false : (mode == 1 ? true : env_sim_random(sim) % 2 == 0);
    uint64_t size = size_kept ? node->live.size : node->durable.size;
    node_reserve(clone, size);
    for (uint64_t at = 0; at < size; at += SECTOR_BYTES) {
        if (mode == 0) {
            memcpy(clone->live.data + at, plane_sector(&node->durable, at), SECTOR_BYTES);
        } else if (mode == 1 && node->dirty[at / SECTOR_BYTES] != LOST) {
            memcpy(clone->live.data + at, plane_sector(&node->live, at), SECTOR_BYTES);
        } else {
            crash_sector(node, at, clone->live.data + at, sim);
        }
    }
    if (size < clone->live.capacity) {
        memset(clone->live.data + size, 0, clone->live.capacity - size);
    }
    clone->live.size = size;
    node_mark(clone->allocated, BLOCK_BYTES, 0, size, 1);
    for (uint64_t i = 0; i * BLOCK_BYTES < size; i++) {
        clone->allocated[i] = i < node->live.capacity / BLOCK_BYTES ? node->allocated[i] : 1;
    }
    disk_sim_sync(clone);
}

static void crash_names(const struct sim_node *folder, struct env_sim *sim)
{
    for (const struct sim_name *name = folder->names; name != NULL; name = name->next) {
        bool kept = name->live == name->durable || env_sim_random(sim) % 2 == 0;
        struct sim_node *node = kept ? name->live : name->durable;
        if (node != NULL) {
            struct sim_name *entry = folder_add(folder->clone, name->name, strlen(name->name));
            entry->live = node->clone;
            entry->durable = node->clone;
        }
    }
}

struct disk_sim *disk_sim_crash(const struct disk_sim *disk, struct env_sim *sim)
{
    struct disk_sim *crashed = mem_zalloc(sizeof(*crashed));
    crashed->bytes = disk->bytes;
    crashed->next_inode = disk->next_inode;
    for (struct sim_node *node = disk->nodes; node != NULL; node = node->next) {
        node->clone = node_new(crashed, node->is_dir);
        node->clone->inode = node->inode;
        if (!node->is_dir) {
            crash_bytes(node, node->clone, sim);
        }
    }
    for (struct sim_node *node = disk->nodes; node != NULL; node = node->next) {
        crash_names(node, sim);
    }
    crashed->root = disk->root->clone;
    return crashed;
}

/* ---- life ---- */

struct disk_sim *disk_sim_new(uint64_t bytes)
{
    struct disk_sim *disk = mem_zalloc(sizeof(*disk));
    disk->bytes = bytes;
    disk->next_inode = 1;
    disk->root = node_new(disk, true);
    return disk;
}

void disk_sim_free(struct disk_sim *disk)
{
    while (disk->nodes != NULL) {
        struct sim_node *node = disk->nodes;
        disk->nodes = node->next;
        while (node->names != NULL) {
            struct sim_name *name = node->names;
            node->names = name->next;
            mem_free(name->name);
            mem_free(name);
        }
        mem_free(node->live.data);
        mem_free(node->durable.data);
        mem_free(node->dirty);
        mem_free(node->allocated);
        mem_free(node);
    }
    mem_free(disk);
}
