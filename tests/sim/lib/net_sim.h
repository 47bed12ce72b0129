/*
 * net_sim - the network of a simulated cluster: calls between processes, on the clock of env_sim.
 *
 * A channel carries calls of one process to the door of another. Requests of one channel arrive in their order, after a
 * seeded delay; different channels overtake one another, as TCP connections do. What a caller is told is what rpc_client
 * tells (common/rpc/rpc_client.h): UNAVAILABLE where nothing was sent, TIMEOUT where the outcome is unknown.
 *   cut         nothing passes in that direction until it is healed; what waits is sent again, until its deadline
 *   disconnect  calls under way between the two end with TIMEOUT; what arrived is still worked off
 *   down        a process without a door, or another life of it: its calls end, its answers are not heard
 * Memory: requests are copied, since a caller that gave up may free its own.
 */
#ifndef TESTS_SIM_LIB_NET_SIM_H
#define TESTS_SIM_LIB_NET_SIM_H

#include "common/rpc/rpc.h"
#include "tests/sim/lib/env_sim.h"

#define NET_SIM_HOSTS 32

struct net_sim;

struct net_sim *net_sim_create(struct env_sim *sim);
/* No process uses its channels any more; waits for calls that still run. */
void net_sim_destroy(struct net_sim *net);
unsigned net_sim_life(const struct net_sim *net, unsigned host); /* of now: how often it was killed */
/* Of that life of `from`; the net's. */
struct rpc_channel *net_sim_channel(struct net_sim *net, unsigned from, unsigned life, unsigned to);
/* Calls to the host go there; NULL: refused. */
void net_sim_serve(struct net_sim *net, unsigned host, struct rpc_channel *door);
/* The host's process dies: what it waits for ends, what it would answer is not heard. The next life takes new channels. */
void net_sim_kill(struct net_sim *net, unsigned host);
void net_sim_cut(struct net_sim *net, unsigned from, unsigned to, bool cut);
bool net_sim_is_cut(const struct net_sim *net, unsigned from, unsigned to);
void net_sim_disconnect(struct net_sim *net, unsigned a, unsigned b);
void net_sim_heal(struct net_sim *net);
void net_sim_delay(struct net_sim *net, uint32_t max_us); /* of one way; default 500 */
uint64_t net_sim_calls(const struct net_sim *net);

#endif
