/* node_find - a storage node by what an operator calls it. */
#ifndef SERVER_NODE_FIND_H
#define SERVER_NODE_FIND_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

/* The one storage node of that name, or whose id begins so (8 digits at least). 200, or 400, 404, 409 and why. */
unsigned node_find(const struct meta_cluster_reply *map, const char *text, const struct meta_node **ret_node, struct error *e);

#endif
