/*
 * upkeep - what operators have said of the work that nobody waits for: repair paused, rebalancing stopped.
 *
 * It stands in the metadata (setting "upkeep"), so it holds for whichever voter leads and after every restart, until it is said
 * otherwise. Voters ask for it every few seconds (server_poll.h); nothing is repaired before the first answer.
 */
#ifndef SERVER_UPKEEP_H
#define SERVER_UPKEEP_H

#include "common/base/error.h"
#include "common/rpc/metadata_messages.h"

struct server;

struct upkeep {
    bool repair_paused;     /* nothing is rebuilt or moved */
    bool rebalance_stopped; /* shards stay where they are as long as that is no risk */
};

struct meta_query upkeep_query(void);
/* What the answer to that query says; where nothing was ever set all is at work. */
struct upkeep upkeep_of(const struct meta_setting_reply *reply);
/* Both wait: on admin_jobs. */
MUST_CHECK enum errc upkeep_get(struct server *server, struct upkeep *ret, struct error *e);
MUST_CHECK enum errc upkeep_put(struct server *server, struct upkeep upkeep, struct error *e);

#endif
