/*
 * admin_forward - a request of the admin port goes from the voter that was asked to the one that leads.
 *
 * It was authenticated by the first; the second trusts that voter's certificate. Nobody forwards twice. While nobody leads it
 * is tried again for some seconds: an election takes one or two.
 */
#ifndef SERVER_ADMIN_FORWARD_H
#define SERVER_ADMIN_FORWARD_H

#include "server/admin_verb.h"

struct rpc_call;
struct admin_request;

/* Is it for another process to answer? */
bool admin_forward_wanted(struct server *server, const struct admin_route *route);
/* Waits, on admin_jobs. 503: nobody leads, or the leader did not answer and may have done it. */
struct admin_answer admin_forward(struct server *server, const struct admin_request *request);
/* RPC_ADMIN_REQUEST, at the voter that leads from another one, at a storage node from the leader; any thread. */
void admin_forwarded(struct server *server, struct rpc_call *call);

#endif
