/* The admin API's side of salvage: begin a run, show how it stands. */
#include "server/admin_api.h"
#include "server/salvage.h"
#include "server/server.h"

unsigned admin_salvage_begin(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct server *server = query->server;
    if (server->salvage == NULL) {
        return server_fail(e, 409, "this server is no cluster: its metadata is never rebuilt from a backup");
    }
    bool started = salvage_start(server->salvage, json_is_true(json_object_get(query->body, "partial")),
                                 json_is_true(json_object_get(query->body, "discard")));
    *ret_json = salvage_answer(server->salvage);
    (void)json_object_set_new(*ret_json, "started", json_boolean(started));
    return 200;
}

unsigned admin_salvage_show(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    if (query->server->salvage == NULL) {
        return server_fail(e, 409, "this server is no cluster: its metadata is never rebuilt from a backup");
    }
    *ret_json = salvage_answer(query->server->salvage);
    return 200;
}
