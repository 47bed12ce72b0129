/*
 * server_disks - what the cluster map says of this server's DIRs: joins, groups, the recorded code.
 */
#ifndef SERVER_SERVER_DISKS_H
#define SERVER_SERVER_DISKS_H

#include "common/base/error.h"
#include "common/base/id.h"
#include "server/data_dir.h"
#include "storage-node/node.h"

struct meta_cluster_reply;
struct server;

/*
 * A later start may ask for another code only where the directories suffice for it: buckets of a wider one would never
 * be at full strength.
 */
MUST_CHECK enum errc server_class_check(struct server *server, struct error *e);

/* Reads the recorded code (class_k, class_m), or records the asked or default one. `first`: nothing is recorded yet. */
MUST_CHECK enum errc server_class_settle(struct server *server, struct error *e);
/* Of `cairn server`: placement groups for a code so wide, where wider ones don't do. UNAVAILABLE: fewer disks than that. Waits. */
MUST_CHECK enum errc server_groups_for(struct server *server, const struct meta_cluster_reply *map, unsigned width, struct error *e);
/* Records server->class_k and class_m for later starts. */
MUST_CHECK enum errc server_class_record(struct server *server, struct error *e);
/* Puts every DIR with a superblock into the map (new id, or a changed path), and makes the groups that are
 * missing. Refuses a disk that was replaced. */
MUST_CHECK enum errc server_disks_register(struct server *server, struct error *e);
/* How this server opens a DIR as a disk. Borrows the DIR's path. */
struct node_disk_config server_disk_config(const struct data_dir *dir);
/* Puts the DIR's disk into the map, IN; `replaces`: in the places of that one, zeros: none. CONFLICT: not taken. */
MUST_CHECK enum errc server_disk_put(struct server *server, const struct data_dir *dir, struct disk_id replaces, struct error *e);

#endif
