#include "server/admin_forward.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter.h"
#include "server/cluster.h"
#include "server/cluster_voters.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ANSWER_TIMEOUT_NS UINT64_C(25000000000)
#define ELECTION_NS UINT64_C(5000000000)
#define PAUSE_NS 200000000

bool admin_forward_wanted(struct server *server, const struct admin_route *route)
{
    return server->cluster != NULL && server->voter != NULL && admin_route_is_leaders(route) && !voter_leads(server->voter);
}

static struct admin_answer answer_take(const struct rpc_call *call)
{
    struct admin_reply reply;
    if (admin_reply_decode(enc_slice(&call->reply), &reply) != ERRC_OK) {
        return admin_answer_error(503, "the leading voter's answer makes no sense");
    }
    char *text = malloc(reply.text.len + 1); /* as json_dumps() gives it */
    if (text == NULL) {
        return admin_answer_error(503, "no memory");
    }
    memcpy(text, reply.text.data, reply.text.len);
    text[reply.text.len] = '\0';
    return (struct admin_answer){ reply.status, text };
}

/* UNAVAILABLE: not by that voter, and why. Else there is an answer. */
static enum errc ask(struct server *server, struct rpc_channel *channel, struct slice head, struct admin_answer *ret_answer,
                     struct error *e)
{
    struct rpc_call call = { .method = RPC_ADMIN_REQUEST, .head = head,
                             .deadline_ns = env_now_ns(server->env) + ANSWER_TIMEOUT_NS };
    enum errc rc = wait_call(channel, server->completions, &call);
    if (rc == ERRC_OK) {
        *ret_answer = answer_take(&call);
    } else if (rc != ERRC_UNAVAILABLE) {
        char *text = mem_format("the leading voter did not answer, and may have done it: %s",
                                call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
        *ret_answer = admin_answer_error(503, text);
        mem_free(text);
    } else {
        error_clear(e); /* of the voter asked before */
        (void)error_set(e, rc, "%s", call.error.code != ERRC_OK ? call.error.text : errc_text(rc));
    }
    rpc_call_release(&call);
    return rc == ERRC_UNAVAILABLE ? rc : ERRC_OK;
}

struct admin_answer admin_forward(struct server *server, const struct admin_request *request)
{
    const struct timespec pause = { 0, PAUSE_NS };
    struct admin_answer answer = { 0 };
    struct enc head = ENC_INIT;
    struct error e = ERROR_INIT;
    enum errc rc = ERRC_UNAVAILABLE;
    uint64_t until_ns = env_now_ns(server->env) + ELECTION_NS;
    admin_request_encode(&head, request);
    do {
        struct metadata_voter voters[CLUSTER_VOTERS_MAX];
        unsigned count = cluster_voters_list(server, voters);
        for (unsigned i = 0; i < count && rc == ERRC_UNAVAILABLE; i++) {
            rc = ask(server, voters[i].channel, enc_slice(&head), &answer, &e);
        }
        if (rc == ERRC_UNAVAILABLE) {
            (void)nanosleep(&pause, NULL);
        }
    } while (rc == ERRC_UNAVAILABLE && env_now_ns(server->env) < until_ns && !voter_leads(server->voter));
    enc_free(&head);
    if (rc != ERRC_OK) {
        char text[ERROR_TEXT_BYTES + 128];
        (void)snprintf(text, sizeof(text), "no metadata voter leads now (the last one asked: %s): 'cairn metadata list' says who is "
                       "there", e.code != ERRC_OK ? e.text : "none is known");
        answer = admin_answer_error(503, text);
    }
    return answer;
}

/* ---- at the leader, or at a storage node ---- */

struct forwarded {
    struct task task;
    struct server *server;
    struct rpc_call *call;
    struct admin_request request; /* borrows call->head */
};

static void forwarded_run(struct task *task)
{
    struct forwarded *forwarded = container_of(task, struct forwarded, task);
    const struct admin_request *request = &forwarded->request;
    struct rpc_call *call = forwarded->call;
    const struct admin_route *route = admin_route_find(request->method, request->path);
    bool known = route != NULL && admin_route_is_nodes(route) == (forwarded->server->voter == NULL);
    struct admin_answer answer = known ? admin_verb_run(forwarded->server, route, request->query, request->body)
                                       : admin_answer_error(404, "the process that was asked does not know this request");
    if (strlen(answer.text) > ADMIN_FORWARD_TEXT_BYTES_MAX) {
        free(answer.text);
        answer = admin_answer_error(503, "the answer is too long: ask the voter that leads, see 'cairn metadata list'");
    }
    const struct admin_reply reply = { answer.status, slice_str(answer.text) };
    admin_reply_encode(&call->reply, &reply);
    free(answer.text);
    mem_free(forwarded);
    rpc_call_finish(call, ERRC_OK);
}

void admin_forwarded(struct server *server, struct rpc_call *call)
{
    if (server->voter != NULL && !voter_leads(server->voter)) {
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, "this voter does not lead"));
        return;
    }
    struct forwarded *forwarded = mem_zalloc(sizeof(*forwarded));
    *forwarded = (struct forwarded){ .task.run = forwarded_run, .server = server, .call = call };
    if (admin_request_decode(call->head, &forwarded->request) != ERRC_OK) {
        mem_free(forwarded);
        rpc_call_finish(call, error_set(&call->error, ERRC_CORRUPT, "the admin request makes no sense"));
        return;
    }
    executor_post(server->admin_jobs, &forwarded->task);
}
