/*
 * disk_sim - files and folders of env_sim in two planes: live (what programs see) and durable (what a power
 * cut leaves for certain). Nodes live as long as the disk.
 */
#ifndef TESTS_SIM_LIB_DISK_SIM_H
#define TESTS_SIM_LIB_DISK_SIM_H

#include "common/base/env.h"

struct disk_sim;
struct sim_node;
struct env_sim;

struct disk_sim *disk_sim_new(uint64_t bytes);
void disk_sim_free(struct disk_sim *disk);
/* What a power cut may leave; randomness from `sim`. */
struct disk_sim *disk_sim_crash(const struct disk_sim *disk, struct env_sim *sim);

struct sim_node *disk_sim_find(struct disk_sim *disk, const char *path);
/* NULL if the folder above is missing. */
struct sim_node *disk_sim_create(struct disk_sim *disk, const char *path, bool is_dir);
enum errc disk_sim_link(struct disk_sim *disk, const char *source, const char *target, bool replace);
enum errc disk_sim_unlink(struct disk_sim *disk, const char *path);
bool disk_sim_empty(const struct sim_node *folder); /* no names; always so for a file */
void disk_sim_sync_names(struct sim_node *folder);
void disk_sim_list(struct sim_node *folder, void (*visit)(void *data, const char *name), void *data);

size_t disk_sim_read(const struct sim_node *node, void *target, size_t len, uint64_t offset);
/* False: no space; nothing is written. */
bool disk_sim_write(struct disk_sim *disk, struct sim_node *node, const void *source, size_t len,
                    uint64_t offset);
bool disk_sim_allocate(struct disk_sim *disk, struct sim_node *node, uint64_t offset, uint64_t len);
void disk_sim_punch(struct sim_node *node, uint64_t offset, uint64_t len);
void disk_sim_truncate(struct sim_node *node, uint64_t size);
void disk_sim_sync(struct sim_node *node);
void disk_sim_sync_fail(struct sim_node *node); /* what was dirty is never written by a sync again, unless it is written to again */
struct env_stat disk_sim_stat(const struct sim_node *node);
void disk_sim_space(const struct disk_sim *disk, uint64_t *ret_total, uint64_t *ret_free);
bool disk_sim_flip(struct sim_node *node, struct env_sim *sim);

#endif
