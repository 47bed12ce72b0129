/* The admin API's side of fsck: begin a run, show how it stands. */
#include "server/admin_api.h"
#include "server/fsck.h"
#include "server/server.h"

/* Shows the run that is under way if there is one: `started` says whether it is a new one. */
unsigned admin_fsck_begin(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    struct voter_status status;
    voter_status(query->server->voter, &status);
    if (!status.serving) {
        return server_fail(e, 503, "this voter does not lead: ask the one that does");
    }
    bool started = fsck_start(query->server->fsck);
    *ret_json = fsck_answer(query->server->fsck);
    (void)json_object_set_new(*ret_json, "started", json_boolean(started));
    return 200;
}

unsigned admin_fsck_show(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    (void)e;
    *ret_json = fsck_answer(query->server->fsck);
    return 200;
}
