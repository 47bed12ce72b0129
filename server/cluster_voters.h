/*
 * cluster_voters - where the metadata voters are, and clients to them.
 *
 * Known from the identity file at the start, then from the map (voters, gateways) or the answers to heartbeats (all); what
 * has changed is written into the identity file, so that the next start finds any voter that is left. Thread: any.
 */
#ifndef SERVER_CLUSTER_VOTERS_H
#define SERVER_CLUSTER_VOTERS_H

#include "common/rpc/cluster_messages.h"
#include "gateway/data/metadata_client.h"

struct server;

/* Links to the voters that the identity file names. */
void cluster_voters_begin(struct server *server);
/* server->meta follows the leader from here on; it is initialized. On a voter its own service is one of them. */
void cluster_voters_follow(struct server *server);
/* These are all of them now; none: nothing is known. */
void cluster_voters_take(struct server *server, const struct cluster_voter *voters, unsigned count);
/* These too, by the word of a voter that does not lead: who leads may be a new one that only it knows. */
void cluster_voters_add(struct server *server, const struct cluster_voter *voters, unsigned count);
/* The others as last known; at most CLUSTER_VOTERS_MAX. Channels live as long as the process. */
unsigned cluster_voters_list(struct server *server, struct metadata_voter ret_voters[CLUSTER_VOTERS_MAX]);
/* Of the node with that id in hex; NULL: not known. */
struct rpc_channel *cluster_voter_channel(struct server *server, const char *node);
/* No call is under way: their clients end. */
void cluster_voters_end(struct server *server);

#endif
