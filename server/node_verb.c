/*
 * Admin verbs that a storage node has to carry out: the voter that leads asks it, over the port of the cluster's processes.
 *
 * A storage node has no admin port of its own, and knows nobody's keys; it trusts a voter's certificate (RPC_ADMIN_REQUEST).
 */
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/cluster_messages.h"
#include "common/rpc/rpc_schema.h"
#include "server/admin_api.h"
#include "server/admin_forward.h"
#include "server/cluster.h"
#include "server/dir_change.h"
#include "server/json_set.h"
#include "server/wait.h"

#include <stdlib.h>
#include <string.h>

/* ---- at the node ---- */

static void on_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct cluster *cluster = container_of(channel, struct cluster, service);
    admin_forwarded(cluster->server, call); /* the only method that is routed here */
}

void cluster_node_service_init(struct server *server)
{
    static const struct rpc_channel_vt vt = { on_call };
    server->cluster->service.vt = &vt;
}

/* Its size, which placement weighs it by; 0: not known yet. */
static uint64_t disk_bytes(struct server *server, struct disk_id disk)
{
    const struct node_disk_status one = { .disk = disk };
    struct node_disk_status_reply *reply = mem_zalloc(sizeof(*reply));
    struct enc head = ENC_INIT;
    uint64_t bytes = 0;
    node_disk_status_encode(&head, &one);
    struct rpc_call call = { .method = RPC_NODE_DISK_STATUS, .head = enc_slice(&head) };
    if (wait_call(node_channel(server->node), server->completions, &call) == ERRC_OK &&
        node_disk_status_reply_decode(enc_slice(&call.reply), reply) == ERRC_OK && reply->count == 1) {
        bytes = reply->entries[0].total_bytes;
    }
    rpc_call_release(&call);
    enc_free(&head);
    mem_free(reply);
    return bytes;
}

static unsigned known_take(const json_t *list, struct disk_id known[NODE_DISKS_MAX])
{
    unsigned count = 0;
    size_t index;
    json_t *value;
    json_array_foreach(list, index, value) {
        const char *text = json_string_value(value);
        if (count < NODE_DISKS_MAX && text != NULL && id_from_hex(text, strlen(text), known[count].bytes)) {
            count++;
        }
    }
    return count;
}

unsigned node_verb_disk_add(const struct admin_query *query, json_t **ret_json, struct error *e)
{
    const char *path = json_string_value(json_object_get(query->body, "path"));
    struct disk_id known[NODE_DISKS_MAX];
    struct disk_id disk;
    if (path == NULL || path[0] != '/') {
        return server_fail(e, 400, "name an absolute path");
    }
    char *real = realpath(path, NULL);
    unsigned known_count = known_take(json_object_get(query->body, "known"), known);
    enum errc rc = server_dir_add(query->server, real != NULL ? real : path, known, known_count, &disk, e);
    free(real);
    if (rc != ERRC_OK) {
        return rc == ERRC_NOT_FOUND ? 404 : rc == ERRC_TIMEOUT ? 503 : 409;
    }
    *ret_json = json_object();
    json_id_set(*ret_json, "id", disk.bytes);
    json_number_set(*ret_json, "bytes", disk_bytes(query->server, disk));
    return 200;
}

/* ---- at the leader ---- */

static unsigned answer_take(const struct rpc_call *call, json_t **ret_json, struct error *e)
{
    struct admin_reply reply;
    json_t *json = NULL;
    if (admin_reply_decode(enc_slice(&call->reply), &reply) != ERRC_OK ||
        (json = json_loadb((const char *)reply.text.data, reply.text.len, 0, NULL)) == NULL) {
        return server_fail(e, 503, "the node's answer makes no sense");
    }
    if (reply.status != 200) {
        const char *text = json_string_value(json_object_get(json, "error"));
        unsigned status = server_fail(e, reply.status, text != NULL ? text : "the node refused, without a reason");
        json_decref(json);
        return status;
    }
    *ret_json = json;
    return 200;
}

unsigned node_verb_ask(struct server *server, struct node_id node, const char *path, const json_t *body, uint64_t wait_ns,
                       json_t **ret_json, struct error *e)
{
    struct rpc_channel *channel = cluster_node_channel(server->cluster, node);
    char *text = json_dumps(body, JSON_COMPACT);
    if (channel == NULL || text == NULL) {
        free(text);
        return server_fail(e, 503, "the node cannot be asked");
    }
    const struct admin_request request = { slice_str("POST"), slice_str(path), SLICE_EMPTY, slice_str(text) };
    struct enc head = ENC_INIT;
    admin_request_encode(&head, &request);
    struct rpc_call call = { .method = RPC_ADMIN_REQUEST, .head = enc_slice(&head), .deadline_ns = env_now_ns(server->env) + wait_ns };
    enum errc rc = wait_call(channel, server->completions, &call);
    unsigned status = 503;
    if (rc == ERRC_OK) {
        status = answer_take(&call, ret_json, e);
    } else {
        (void)error_set(e, rc, "the node did not answer, and may have done it: %s", call.error.code != ERRC_OK ? call.error.text
                                                                                                               : errc_text(rc));
    }
    rpc_call_release(&call);
    enc_free(&head);
    free(text);
    return status;
}
