/*
 * admin_verb - one signed request of the admin port, answered: here, or by the voter that leads where only that one knows.
 *
 * What nodes say of their disks, repair and collection are known to the leader alone; so every voter answers for the whole
 * cluster, and a gateway or voter for itself (its log, its options).
 * Thread: server->admin_jobs, one at a time; it may wait.
 */
#ifndef SERVER_ADMIN_VERB_H
#define SERVER_ADMIN_VERB_H

#include "common/base/error.h"
#include "common/base/slice.h"

#include <stdbool.h>

struct server;
struct admin_route;

struct admin_answer {
    unsigned status; /* of HTTP */
    char *text;      /* JSON; free() it */
};

/* NULL: there is no such path, or not with that method. */
const struct admin_route *admin_route_find(struct slice method, struct slice path);
bool admin_route_is_leaders(const struct admin_route *route);
bool admin_route_is_nodes(const struct admin_route *route);

/* Runs the verb in this process. `query` as received, without '?'. */
struct admin_answer admin_verb_run(struct server *server, const struct admin_route *route, struct slice query,
                                   struct slice body);
struct admin_answer admin_answer_error(unsigned status, const char *text);

#endif
