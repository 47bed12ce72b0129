/* The admin API's side of `cairn trace`. */
#include "server/admin_api.h"
#include "server/server.h"
#include "server/trace.h"

#include <stdlib.h>

unsigned admin_trace(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    char *end = NULL;
    const struct trace_filter filter = { query->bucket, query->status };
    if (query->server->trace == NULL) {
        return server_fail(e, 409, "this process serves no S3 requests: give --admin the admin port of a gateway");
    }
    if (query->status != NULL && !trace_status_valid(query->status)) {
        return server_fail(e, 400, "a status is three digits, or one digit and xx: 404, 5xx");
    }
    uint64_t after = query->after != NULL ? strtoull(query->after, &end, 10) : 0;
    if (query->after != NULL && (end == query->after || *end != '\0')) {
        return server_fail(e, 400, "'after' is the number of a line");
    }
    *ret_json = trace_answer(query->server->trace, query->after != NULL, after, &filter);
    return 200;
}
