/*
 * dir_change - DIRs of a process that runs: a lost one is replaced, one that had gone returns, a new one is added.
 * Thread: admin_jobs, where alone server->dirs changes once the process is up (under dirs_lock: others read it).
 */
#ifndef SERVER_DIR_CHANGE_H
#define SERVER_DIR_CHANGE_H

#include "common/base/error.h"
#include "common/base/id.h"

struct server;

/* `cairn disk replace`: formats the empty DIR `path` and lets it take over the places of a lost disk. Blocking. */
MUST_CHECK enum errc server_disk_replace(struct server *server, const char *path, const char *for_disk,
                                         struct disk_id *ret_new, struct disk_id *ret_replaced, struct error *e);

/* In the process of `cairn server`, on `completions`: looks, on admin_jobs, whether a DIR that was missing or not to be read at
 * the start has its disk again, and takes it in. Does nothing while the look before it runs, or where every DIR is known. */
void server_dirs_look(struct server *server);

/*
 * A storage node takes the empty DIR `path` into service, formatted; the map is not told. A disk that stood there and failed leaves
 * first. What an attempt before has formatted goes on; `known` are the disks that the map has or had, which are not added.
 * Blocking. NOT_FOUND there is no such folder; EXISTS it is in service already; INVALID, CONFLICT it is not empty, or another's; IO.
 */
MUST_CHECK enum errc server_dir_add(struct server *server, const char *path, const struct disk_id *known, unsigned known_count,
                                    struct disk_id *ret_disk, struct error *e);

#endif
