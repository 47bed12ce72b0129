/*
 *   IDLE -> OPENING -> OPEN -> CLOSING -> CLOSED        OPENING -> GONE when the service refuses
 *              ^--------'  when the service has closed it
 *
 * One metadata call at a time serves open, reserve and close (`op`); renewals have one of their own. Counters are
 * kept as the range in use and the one reserved behind it.
 */
#include "gateway/data/session.h"

#include "common/base/assert.h"
#include "common/base/mem.h"
#include "gateway/data/data_lock.h"

#define RENEW_MS_DEFAULT 1000
#define RETRY_MS 50
#define RESERVE_BELOW (SESSION_IDS_RESERVED / 2) /* ids left when the next range is asked for */

enum session_state { SESSION_IDLE, SESSION_OPENING, SESSION_OPEN, SESSION_CLOSING, SESSION_CLOSED, SESSION_GONE };

struct session {
    struct session_config config;
    struct data_lock lock;          /* guards what is marked L */
    enum session_state state;       /* L */
    _Atomic uint64_t number;        /* changes while OPENING only */
    uint64_t next, end;             /* L: range in use */
    uint64_t ahead, ahead_end;      /* L: the one behind it */
    bool reserving;                 /* L: reserve_task is posted or its call under way */
    struct list waiters;            /* L */
    struct list reads;              /* L */
    _Atomic uint64_t horizon;
    bool reserved;                 /* the first ids */
    uint64_t renew_asked_ns, renew_number; /* of the renewal under way */
    _Atomic uint64_t renewed_ns;   /* when the last good one was asked for; 0: none yet */

    /* on the executor */
    struct meta_op op;
    struct meta_op renew_op;
    uint16_t op_type;               /* enum meta_command_type of the call under way */
    bool op_busy, renew_busy;
    struct task reserve_task;
    struct timer retry_timer;
    struct timer renew_timer;
    void (*open_done)(void *data, enum errc status);
    void *open_data;
    void (*close_done)(void *data, enum errc status);
    void *close_data;
};

static void session_next_call(struct session *session);

static void wait_run(struct task *task)
{
    struct session_id_wait *wait = container_of(task, struct session_id_wait, task);
    wait->done(wait);
}

static bool id_pop(struct session *session, struct extent_id *ret_id)
{
    if (session->next == session->end) {
        session->next = session->ahead;
        session->end = session->ahead_end;
        session->ahead = session->ahead_end = 0;
    }
    if (session->next == session->end) {
        return false;
    }
    store_be64(ret_id->bytes, session->number);
    store_be64(ret_id->bytes + 8, session->next++);
    return true;
}

/* Under the lock. True: the caller posts reserve_task after giving the lock. */
static bool reserve_due(struct session *session)
{
    uint64_t left = session->end - session->next + session->ahead_end - session->ahead;
    if (session->state != SESSION_OPEN || session->reserving || left >= RESERVE_BELOW) {
        return false;
    }
    session->reserving = true;
    return true;
}

/* Gives ids to those who wait, or the end to all of them. */
static void waiters_serve(struct session *session, enum errc end_status)
{
    for (;;) {
        data_lock_take(&session->lock);
        struct list *node = session->waiters.next;
        bool some = node != &session->waiters;
        struct session_id_wait *wait = some ? container_of(node, struct session_id_wait, node) : NULL;
        bool served = some && (end_status != ERRC_OK || id_pop(session, &wait->id));
        if (served) {
            list_remove(&wait->node);
            wait->queued = false;
            wait->status = end_status;
        }
        bool due = reserve_due(session);
        data_lock_give(&session->lock);
        if (due) {
            executor_post(session->config.executor, &session->reserve_task);
        }
        if (!served) {
            return;
        }
        executor_post(wait->executor, &wait->task);
    }
}

static void session_gone(struct session *session)
{
    data_lock_take(&session->lock);
    session->state = SESSION_GONE;
    session->next = session->end = session->ahead = session->ahead_end = 0;
    data_lock_give(&session->lock);
    waiters_serve(session, ERRC_UNAVAILABLE);
}

static bool retryable(enum errc status)
{
    return status == ERRC_LIMIT || status == ERRC_UNAVAILABLE || status == ERRC_TIMEOUT;
}

/* The service has closed it: another one is opened. Whoever waits for an id gets one of that. */
static void session_again(struct session *session)
{
    if (session->close_done != NULL || session->state != SESSION_OPEN) {
        return;
    }
    data_lock_take(&session->lock);
    session->state = SESSION_OPENING;
    session->next = session->end = session->ahead = session->ahead_end = 0;
    session->reserving = false;
    data_lock_give(&session->lock);
    session->reserved = false;
    atomic_store(&session->renewed_ns, 0);
    atomic_store(&session->horizon, 0);
    if (!session->op_busy) {
        timer_start(session->config.executor, &session->retry_timer, RETRY_MS);
    }
}

static void open_finish(struct session *session, enum errc status)
{
    void (*done)(void *data, enum errc status) = session->open_done;
    session->open_done = NULL;
    if (done != NULL) {
        done(session->open_data, status);
    }
}

static void close_finish(struct session *session, enum errc status)
{
    timer_stop(session->config.executor, &session->renew_timer);
    timer_stop(session->config.executor, &session->retry_timer);
    session->state = SESSION_CLOSED;
    waiters_serve(session, ERRC_CANCELED);
    open_finish(session, ERRC_CANCELED);
    void (*done)(void *data, enum errc status_arg) = session->close_done;
    session->close_done = NULL;
    done(session->close_data, status);
}

static void range_add(struct session *session, uint64_t first)
{
    data_lock_take(&session->lock);
    if (session->next == session->end) {
        session->next = first;
        session->end = first + SESSION_IDS_RESERVED;
    } else {
        session->ahead = first;
        session->ahead_end = first + SESSION_IDS_RESERVED;
    }
    session->reserving = false;
    data_lock_give(&session->lock);
    waiters_serve(session, ERRC_OK);
}

static void renew_start(struct session *session);

/* Opened: ids are reserved, and the service holds back what the session's reads may need. */
static void open_progress(struct session *session)
{
    if (session->reserved && atomic_load(&session->renewed_ns) != 0) {
        open_finish(session, ERRC_OK);
    }
}

/* A decided open, reserve or close. */
static void op_decided(struct session *session, uint16_t type)
{
    const struct meta_result *result = &session->op.result;
    bool ok = result->outcome == META_OK;
    if (type == META_CMD_SESSION_CLOSE) {
        close_finish(session, ERRC_OK); /* whoever closed it: it is closed */
    } else if (!ok && type == META_CMD_SESSION_RESERVE && session->open_done == NULL) {
        session_again(session);
    } else if (!ok) {
        session_gone(session);
        open_finish(session, ERRC_UNAVAILABLE);
    } else if (type == META_CMD_SESSION_OPEN) {
        data_lock_take(&session->lock);
        session->number = result->value;
        session->state = SESSION_OPEN;
        session->reserving = true;
        data_lock_give(&session->lock);
        if (!session->renew_busy) {
            renew_start(session); /* before its first read: the service's memory must know of it */
        }
        session_next_call(session);
    } else if (session->state == SESSION_OPEN) {
        range_add(session, result->value);
        session->reserved = true;
        open_progress(session);
    } else {
        session_next_call(session); /* ids of a session that is gone meanwhile */
    }
}

static void op_done(struct meta_op *op)
{
    struct session *session = op->data;
    uint16_t type = session->op_type;
    enum errc status = op->status;
    session->op_busy = false;
    bool closing = session->close_done != NULL;
    if (status == ERRC_OK && (!closing || type == META_CMD_SESSION_CLOSE)) {
        op_decided(session, type);
    } else if (closing && status == ERRC_OK && type == META_CMD_SESSION_OPEN && op->result.outcome == META_OK) {
        session->number = op->result.value;
        session_next_call(session);
    } else if (closing && (status == ERRC_OK || type != META_CMD_SESSION_CLOSE)) {
        session_next_call(session);
    } else if (closing) {
        close_finish(session, status); /* shutting down: the next start closes it */
    } else if (retryable(status)) {
        timer_start(session->config.executor, &session->retry_timer, RETRY_MS);
    } else {
        session_gone(session);
        open_finish(session, status);
    }
}

static void op_propose(struct session *session, const struct meta_command *command)
{
    ASSERT(!session->op_busy);
    session->op_busy = true;
    meta_op_release(&session->op);
    meta_op_init(&session->op, session->config.executor, NULL, op_done, session);
    session->op_type = command->type;
    meta_propose(session->config.meta, &session->op, command);
}

/* What the state asks for next; only when no call is under way. */
static void session_next_call(struct session *session)
{
    if (session->op_busy) {
        return;
    }
    struct meta_command command = { .type = META_CMD_SESSION_OPEN };
    if (session->close_done != NULL) {
        if (session->number == 0) {
            close_finish(session, ERRC_OK);
            return;
        }
        command.type = META_CMD_SESSION_CLOSE;
        command.session_close.session = session->number;
    } else if (session->state == SESSION_OPENING) {
        command.session_open = (struct meta_session_open){ session->config.node,
                                                           env_wall_ms(session->config.env) };
    } else if (session->state == SESSION_OPEN && session->reserving) {
        command.type = META_CMD_SESSION_RESERVE;
        command.session_reserve.session = session->number;
    } else {
        return;
    }
    op_propose(session, &command);
}

static void reserve_run(struct task *task)
{
    session_next_call(container_of(task, struct session, reserve_task));
}

static void retry_run(struct task *task)
{
    session_next_call(container_of(container_of(task, struct timer, task), struct session, retry_timer));
}

/* ---- renewal ---- */

static void session_renew_refused(struct session *session)
{
    if (session->open_done != NULL && session->close_done == NULL) {
        session_gone(session);
        open_finish(session, ERRC_UNAVAILABLE);
    } else {
        session_again(session);
    }
}

static void renew_done(struct meta_op *op)
{
    struct session *session = op->data;
    session->renew_busy = false;
    if (session->renew_number != session->number) {
        op->status = ERRC_CANCELED; /* of the session before this one */
    }
    if (op->status == ERRC_OK) {
        atomic_store(&session->horizon, op->session_horizon);
        atomic_store(&session->renewed_ns, session->renew_asked_ns);
        open_progress(session);
    } else if (op->status == ERRC_NOT_FOUND || op->status == ERRC_CONFLICT) {
        session_renew_refused(session); /* closed by somebody else */
    }
    if (session->close_done != NULL) {
        session_next_call(session);
    } else if (session->state == SESSION_OPEN || session->state == SESSION_OPENING) {
        timer_start(session->config.executor, &session->renew_timer, session->config.renew_ms);
    }
}

static void renew_start(struct session *session)
{
    /* In this order: a read that begins between the two has an index of `seen` or later. */
    uint64_t seen = atomic_load(&session->config.meta->index_seen);
    uint64_t oldest = session_oldest_read(session);
    session->renew_busy = true;
    session->renew_number = session->number;
    session->renew_asked_ns = env_now_ns(session->config.env);
    meta_op_release(&session->renew_op);
    meta_op_init(&session->renew_op, session->config.executor, NULL, renew_done, session);
    meta_session_renew(session->config.meta, &session->renew_op, session->number, oldest < seen ? oldest : seen);
}

static void renew_run(struct task *task)
{
    struct session *session = container_of(container_of(task, struct timer, task), struct session, renew_timer);
    if (session->close_done != NULL || session->renew_busy) {
        return;
    }
    if (session->state == SESSION_OPEN) {
        renew_start(session);
    } else {
        timer_start(session->config.executor, &session->renew_timer, session->config.renew_ms);
    }
}

/* ---- life ---- */

struct session *session_create(const struct session_config *config)
{
    struct session *session = mem_zalloc(sizeof(*session));
    session->config = *config;
    if (session->config.renew_ms == 0) {
        session->config.renew_ms = RENEW_MS_DEFAULT;
    }
    data_lock_init(&session->lock);
    list_init(&session->waiters);
    list_init(&session->reads);
    atomic_init(&session->horizon, 0); /* nothing is known to be past yet */
    session->reserve_task.run = reserve_run;
    session->retry_timer.task.run = retry_run;
    session->renew_timer.task.run = renew_run;
    return session;
}

void session_open(struct session *session, void (*done)(void *data, enum errc status), void *data)
{
    ASSERT(session->state == SESSION_IDLE);
    session->state = SESSION_OPENING;
    session->open_done = done;
    session->open_data = data;
    timer_start(session->config.executor, &session->renew_timer, session->config.renew_ms);
    session_next_call(session);
}

void session_close(struct session *session, void (*done)(void *data, enum errc status), void *data)
{
    ASSERT(session->close_done == NULL);
    session->close_done = done;
    session->close_data = data;
    timer_stop(session->config.executor, &session->retry_timer);
    timer_stop(session->config.executor, &session->renew_timer);
    data_lock_take(&session->lock);
    session->state = SESSION_CLOSING;
    session->next = session->end = session->ahead = session->ahead_end = 0;
    data_lock_give(&session->lock);
    waiters_serve(session, ERRC_CANCELED);
    if (!session->renew_busy) {
        /* On a turn of its own: done never runs inside this call, and a posted reserve_task finds its way first. */
        timer_start(session->config.executor, &session->retry_timer, 0);
    }
}

void session_destroy(struct session *session)
{
    if (session == NULL) {
        return;
    }
    ASSERT(!session->op_busy && !session->renew_busy);
    ASSERT(list_empty(&session->waiters));
    meta_op_release(&session->op);
    meta_op_release(&session->renew_op);
    mem_free(session);
}

uint64_t session_number(const struct session *session)
{
    return session->number;
}

bool session_alive(const struct session *session)
{
    struct session *own = (struct session *)(uintptr_t)session; /* the lock is no part of the value */
    data_lock_take(&own->lock);
    bool alive = own->state == SESSION_OPEN;
    uint64_t renewed_ns = atomic_load(&own->renewed_ns);
    alive = alive && env_now_ns(own->config.env) < renewed_ns + SESSION_LEASE_NS;
    data_lock_give(&own->lock);
    return alive;
}

/* ---- ids ---- */

enum errc session_take_id(struct session *session, struct extent_id *ret_id, struct session_id_wait *wait)
{
    enum errc rc = ERRC_OK;
    data_lock_take(&session->lock);
    if (session->state == SESSION_CLOSING || session->state == SESSION_CLOSED) {
        rc = ERRC_CANCELED;
    } else if (session->state == SESSION_GONE) {
        rc = ERRC_UNAVAILABLE;
    } else if (!list_empty(&session->waiters) || session->state != SESSION_OPEN || !id_pop(session, ret_id)) {
        rc = ERRC_WOULD_BLOCK;
        wait->session = session;
        wait->queued = true;
        wait->task.run = wait_run;
        list_append(&session->waiters, &wait->node);
    }
    bool due = reserve_due(session);
    data_lock_give(&session->lock);
    if (due) {
        executor_post(session->config.executor, &session->reserve_task);
    }
    return rc;
}

bool session_cancel_wait(struct session *session, struct session_id_wait *wait)
{
    data_lock_take(&session->lock);
    bool was_queued = wait->queued;
    if (was_queued) {
        list_remove(&wait->node);
        wait->queued = false;
    }
    data_lock_give(&session->lock);
    return was_queued;
}

/* ---- pins ---- */

void session_read_begin(struct session *session, struct session_read *read)
{
    data_lock_take(&session->lock);
    /* Inside the lock: the collector that looks after us sees either this pin, or a read whose query is answered
     * from a state that is later than all it has been told of. */
    read->index = atomic_load(&session->config.meta->index_seen);
    read->session = session->number;
    list_append(&session->reads, &read->node);
    data_lock_give(&session->lock);
}

void session_read_begin_at(struct session *session, struct session_read *read, uint64_t index)
{
    data_lock_take(&session->lock);
    read->index = index;
    read->session = session->number;
    list_append(&session->reads, &read->node);
    data_lock_give(&session->lock);
}

bool session_read_alive(struct session *session, const struct session_read *read)
{
    return session_alive(session) && read->session == session->number;
}

void session_read_at(struct session *session, struct session_read *read, uint64_t index)
{
    data_lock_take(&session->lock);
    if (index > read->index) {
        read->index = index;
    }
    data_lock_give(&session->lock);
}

void session_read_end(struct session *session, struct session_read *read)
{
    data_lock_take(&session->lock);
    list_remove(&read->node);
    data_lock_give(&session->lock);
}

uint64_t session_oldest_read(struct session *session)
{
    uint64_t oldest = UINT64_MAX;
    data_lock_take(&session->lock);
    list_for_each(node, &session->reads) {
        struct session_read *read = container_of(node, struct session_read, node);
        oldest = read->index < oldest ? read->index : oldest;
    }
    data_lock_give(&session->lock);
    return oldest;
}

uint64_t session_horizon(struct session *session)
{
    uint64_t own = session_oldest_read(session);
    uint64_t all = atomic_load(&session->horizon);
    return own < all ? own : all;
}
