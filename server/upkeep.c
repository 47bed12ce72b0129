#include "server/upkeep.h"

#include "server/server.h"

#define SETTING "upkeep" /* two bytes: repair is paused, rebalancing is stopped */
#define ARENA_BYTES 4096

struct meta_query upkeep_query(void)
{
    return (struct meta_query){ .type = META_QRY_SETTING, .name = slice_str(SETTING) };
}

struct upkeep upkeep_of(const struct meta_setting_reply *reply)
{
    bool known = reply->outcome == META_OK && reply->value.len == 2;
    return (struct upkeep){ .repair_paused = known && reply->value.data[0] != 0,
                            .rebalance_stopped = known && reply->value.data[1] != 0 };
}

enum errc upkeep_get(struct server *server, struct upkeep *ret, struct error *e)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = upkeep_query();
    arena_init(&arena, ARENA_BYTES);
    enum errc rc = wait_query(&server->meta, server->completions, &arena, &op, &query, e);
    if (rc == ERRC_OK) {
        *ret = upkeep_of(&op.setting);
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

enum errc upkeep_put(struct server *server, struct upkeep upkeep, struct error *e)
{
    const uint8_t value[2] = { upkeep.repair_paused, upkeep.rebalance_stopped };
    const struct meta_command command = { .type = META_CMD_SETTING_PUT,
                                          .setting_put = { slice_str(SETTING), slice_of(value, sizeof(value)) } };
    struct meta_op op;
    enum errc rc = wait_propose(&server->meta, server->completions, &op, &command, e);
    if (rc == ERRC_OK && op.result.outcome != META_OK) {
        rc = error_set(e, ERRC_CONFLICT, "the setting was not taken: outcome %u", op.result.outcome);
    }
    meta_op_release(&op);
    return rc;
}
