/*
 * metadata_failover - finds the voter that leads, and repeats calls that it is safe to repeat. The metadata client's
 * own; others look at metadata_client.h.
 *
 *   sent to the leader as last known -> OK or refused: done
 *                                    -> UNAVAILABLE with the leader's name: there, at once, once a round
 *                                    -> UNAVAILABLE, or no answer in time: the next voter; after all of them a pause
 *                                    -> the op's deadline comes first: done with that status
 *
 * Commands carry a name (struct meta_request), so one that may have been done is done once. A name's number is
 * (a counter, place) with one of META_REQUESTS_KEPT places for each command under way: the service keeps the result of a
 * name until the same place comes again, which is after its command has ended here. More commands than places under
 * way belong to further clients ("lanes").
 *
 * Thread: any; the retry of an op runs on its executor. Memory: owned by the client.
 */
#ifndef GATEWAY_DATA_METADATA_FAILOVER_H
#define GATEWAY_DATA_METADATA_FAILOVER_H

#include "gateway/data/metadata_client.h"

#define FAILOVER_LANES 4 /* times META_REQUESTS_KEPT commands under way */

struct metadata_failover *failover_create(struct env *env);
void failover_destroy(struct metadata_failover *failover);
void failover_voters(struct metadata_failover *failover, const struct metadata_voter *voters, unsigned count,
                     void (*on_unknown)(void *data, const struct meta_leader *leader), void *data);
/* A name for a new command. LIMIT: too many are under way. */
void failover_hurry(struct metadata_failover *failover, uint64_t end_ns);
MUST_CHECK enum errc failover_name(struct metadata_failover *failover, struct meta_op *op, struct meta_request *ret_request);
/* First attempt: sets the op's limits and sends. */
void failover_begin(struct metadata_failover *failover, struct meta_op *op);
/* An attempt has ended: true if another one is under way or will be. False: the op ends with its call's status, which
 * this may have made TIMEOUT because an earlier attempt may have been done. */
bool failover_again(struct metadata_failover *failover, struct meta_op *op);

#endif
