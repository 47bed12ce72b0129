/* server_steps - steps of the start that roles of a cluster share with `cairn server` (server_lifecycle.c). */
#ifndef SERVER_SERVER_STEPS_H
#define SERVER_SERVER_STEPS_H

#include "common/base/error.h"
#include "common/base/id.h"
#include "common/rpc/node_messages.h"

#include <stdbool.h>

struct server;

MUST_CHECK enum errc server_step_tls(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_executors(struct server *server, struct error *e);
/* Opens the disks of server->dirs and waits until each has said what became of it. */
MUST_CHECK enum errc server_step_node(struct server *server, struct error *e);
/* Scrubs every disk of this process; behind server_step_session, so that what is found is rebuilt. */
MUST_CHECK enum errc server_step_scrubs(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_session(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_loops(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_gateway(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_admin(struct server *server, struct error *e);
MUST_CHECK enum errc server_step_front(struct server *server, struct error *e);
/* Asks for the map and waits for it. */
MUST_CHECK enum errc server_map_await(struct server *server, struct error *e);
/* The newest root keys among server->dirs, into server->credentials. CORRUPT: none is readable. */
MUST_CHECK enum errc server_credentials_find(struct server *server, struct error *e);
/* Keys of the environment, where both are given, into server->credentials. */
MUST_CHECK enum errc server_credentials_from_environment(struct server *server, bool *ret_changed, struct error *e);
/* Waits until each disk of server->dirs has said what became of it. */
void server_disks_await(struct server *server);
/* For the log: voter's events. */
void server_on_voter_event(void *data, const char *event, const char *path, const char *text);
/* A disk's state as the log and the admin API call it. */
const char *server_disk_state_text(enum disk_state state);
/* The disk's state as far as this process can know: of its own node, or as the node told last. */
enum disk_state server_disk_state(struct server *server, struct disk_id disk);

#endif
