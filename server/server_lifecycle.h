/*
 * server_lifecycle - start, reload and stop of `cairn server`. Called from the main thread only.
 */
#ifndef SERVER_SERVER_LIFECYCLE_H
#define SERVER_SERVER_LIFECYCLE_H

#include "common/base/error.h"

struct server;
struct server_options;
struct stop_watch;

/* Returns when requests are being served; prints endpoint and, where they are new, the keys. On an error
 * everything is closed again, and the text names the directory, address or file at fault. */
MUST_CHECK enum errc server_start(const struct server_options *options, struct server **ret_server, struct error *e);
/* SIGHUP: reads the TLS files again. A failure is logged and leaves the old ones in force. */
void server_reload(struct server *server);
/* Lets requests under way finish, then stops everything. `watch` is told what is waited for; NULL: nobody is. */
MUST_CHECK enum errc server_stop(struct server *server, struct stop_watch *watch);

#endif
