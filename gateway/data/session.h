/*
 * session - the durable lease under which this gateway names extents and pins what its reads need.
 *
 * A session that the service has closed (this gateway was silent for its lease) is followed by a new one: ids of the old
 * one are given out no more, what was written under it is refused, reads that began under it are cut.
 *
 * Extent ids are (session, counter); counters are reserved SESSION_IDS_RESERVED at a time, ahead of
 * need, and never used twice. A read that runs pins the log index of the state that it was looked up
 * in: extents deleted later than that are not freed (BLUEPRINT 7).
 *
 * Pin before you ask: session_read_begin() first (it pins the highest index this process has seen),
 * then the metadata query, then session_read_at() with the answer's index (only ever later).
 *
 * Thread: open, close and destroy on the session's executor; ids and pins from any thread.
 */
#ifndef GATEWAY_DATA_SESSION_H
#define GATEWAY_DATA_SESSION_H

#include "common/base/id.h"
#include "common/base/list.h"
#include "gateway/data/metadata_client.h"

struct session;

#define SESSION_LEASE_NS UINT64_C(25000000000) /* 5 s less than the service keeps a silent session's pins */

struct session_config {
    struct env *env;
    struct executor *executor;     /* serial; timers run here */
    struct metadata_client *meta;
    struct node_id node;
    uint32_t renew_ms;             /* 0: 1000 */
};

struct session *session_create(const struct session_config *config);
/* Opens at the metadata service and reserves the first ids; retries UNAVAILABLE, LIMIT and TIMEOUT
 * until closed. done(data, status) on the session's executor. */
void session_open(struct session *session, void (*done)(void *data, enum errc status), void *data);
/* Proposes CLOSED; waits for calls under way. No id is given out any more: waiters get CANCELED. done on
 * the executor. Ids never referred to become garbage for the orphan sweep. */
void session_close(struct session *session, void (*done)(void *data, enum errc status), void *data);
void session_destroy(struct session *session); /* never opened, or after close's done */
uint64_t session_number(const struct session *session); /* of now; an extent's id tells its own */
/* False when the session could not be renewed for a lease, or the service said that it is gone and no other is open yet:
 * nothing new begins. */
bool session_alive(const struct session *session);

/* ---- ids ---- */

struct session_id_wait {
    struct list node;              /* the session's */
    struct executor *executor;     /* where done runs */
    struct task task;
    struct session *session;
    enum errc status;
    struct extent_id id;
    bool queued;
    void (*done)(struct session_id_wait *wait);
    void *data;
};

/* OK and an id, or WOULD_BLOCK: then `wait` (executor, done, data set) is queued and done runs later with
 * status OK, CANCELED or UNAVAILABLE. */
MUST_CHECK enum errc session_take_id(struct session *session, struct extent_id *ret_id, struct session_id_wait *wait);
/* True: the wait is off the queue and done will not run. False: done runs, or has run. */
bool session_cancel_wait(struct session *session, struct session_id_wait *wait);

/* ---- pins ---- */

struct session_read {
    struct list node;
    uint64_t index;
    uint64_t session;              /* number of the one that it is pinned under */
};

void session_read_begin(struct session *session, struct session_read *read);
/* Pins an index that another pin still holds: hands it on. */
void session_read_begin_at(struct session *session, struct session_read *read, uint64_t index);
/* False: the pin does not hold any more; what the read has not begun to fetch it must not. */
bool session_read_alive(struct session *session, const struct session_read *read);
void session_read_at(struct session *session, struct session_read *read, uint64_t index);
void session_read_end(struct session *session, struct session_read *read);
/* Oldest pinned index of this session's reads; UINT64_MAX: none runs. */
uint64_t session_oldest_read(struct session *session);
/* Oldest index that any live session may still need, by the last renewal and this session's own reads. */
uint64_t session_horizon(struct session *session);

#endif
