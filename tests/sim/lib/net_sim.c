#include "tests/sim/lib/net_sim.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <string.h>

#define DELAY_US 500
#define AGAIN_MS 100      /* a cut link is tried again so often */
#define LOST_MS 10000     /* a call without a deadline on a link that stays cut ends after this */
#define NS_PER_MS UINT64_C(1000000)

struct net_link {
    struct rpc_channel channel;
    struct list all;
    struct net_sim *net;
    unsigned from, to;
    unsigned from_life;
    struct list queue;            /* messages on their way, in order */
    struct timer pump;
    uint64_t last_ns;             /* arrival of the newest */
};

enum message_state { ON_THE_WAY, ARRIVED, ANSWERED };

struct message {
    struct list queued;           /* in its link's queue, ON_THE_WAY */
    struct list all;
    struct net_link *link;
    struct rpc_call *outer;       /* NULL: the caller was told */
    struct rpc_call inner;
    uint8_t *head;
    enum message_state state;
    unsigned to_life;
    uint64_t ready_ns;
    struct timer deadline, answer;
};

struct net_sim {
    struct env_sim *sim;
    struct executor *executor;
    struct list links, messages;
    struct rpc_channel *doors[NET_SIM_HOSTS];
    unsigned lives[NET_SIM_HOSTS];
    bool cut[NET_SIM_HOSTS][NET_SIM_HOSTS];
    uint32_t delay_us;
    uint64_t calls;
};

static uint64_t now_of(const struct net_sim *net)
{
    return env_now_ns(env_sim_env(net->sim));
}

static uint64_t delay_ns(struct net_sim *net)
{
    uint64_t most = (uint64_t)net->delay_us * 1000;
    return most / 10 + env_sim_random(net->sim) % most;
}

/* ---- messages ---- */

static void timer_begin(struct net_sim *net, struct timer *timer, void (*run)(struct task *task), uint64_t until_ns)
{
    uint64_t now = now_of(net);
    uint64_t ns = until_ns > now ? until_ns - now : 0;
    timer->task.run = run;
    timer_start(net->executor, timer, (ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void message_free(struct message *message)
{
    timer_stop(message->link->net->executor, &message->deadline);
    timer_stop(message->link->net->executor, &message->answer);
    rpc_call_release(&message->inner);
    for (unsigned i = 0; i < message->inner.payload_count; i++) {
        buffer_unref(message->inner.payloads[i]);
    }
    list_remove(&message->all);
    mem_free(message->head);
    mem_free(message);
}

/* Tells the caller that there is no answer. The message stays while the other side works on it. */
static void message_fail(struct message *message, enum errc status, const char *why)
{
    struct rpc_call *outer = message->outer;
    timer_stop(message->link->net->executor, &message->deadline);
    timer_stop(message->link->net->executor, &message->answer);
    message->outer = NULL;
    if (outer != NULL) {
        rpc_call_finish(outer, error_set(&outer->error, status, "%s", why));
    }
    if (message->state == ON_THE_WAY) {
        list_remove(&message->queued);
    }
    if (message->state != ARRIVED) {
        message_free(message);
    }
}

static void on_deadline(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    message_fail(container_of(timer, struct message, deadline), ERRC_TIMEOUT, "no answer within its time");
}

static void on_answer_due(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct message *message = container_of(timer, struct message, answer);
    struct net_link *link = message->link;
    struct net_sim *net = link->net;
    if (net->lives[link->to] != message->to_life) {
        message_fail(message, ERRC_TIMEOUT, "the connection was lost before an answer");
        return;
    }
    if (net->cut[link->to][link->from]) {
        timer_start(net->executor, &message->answer, AGAIN_MS);
        return;
    }
    struct rpc_call *outer = message->outer;
    enum errc status = message->inner.status;
    outer->error = message->inner.error;
    outer->reply = message->inner.reply;
    outer->reply_payload_count = message->inner.reply_payload_count;
    memcpy(outer->reply_payloads, message->inner.reply_payloads, sizeof(outer->reply_payloads));
    memset(&message->inner.reply, 0, sizeof(message->inner.reply));
    message->inner.reply_payload_count = 0;
    message->outer = NULL;
    rpc_call_finish(outer, status);
    message_free(message);
}

static void on_inner_done(struct rpc_call *inner)
{
    struct message *message = container_of(inner, struct message, inner);
    struct net_sim *net = message->link->net;
    message->state = ANSWERED;
    if (message->outer == NULL) {
        message_free(message);
        return;
    }
    timer_begin(net, &message->answer, on_answer_due, now_of(net) + delay_ns(net));
}

static void message_deliver(struct message *message)
{
    struct net_link *link = message->link;
    struct rpc_channel *door = link->net->doors[link->to];
    if (door == NULL) {
        message_fail(message, ERRC_UNAVAILABLE, "no connection");
        return;
    }
    list_remove(&message->queued);
    message->state = ARRIVED;
    message->to_life = link->net->lives[link->to];
    rpc_call_start(door, &message->inner);
}

/* ---- links ---- */

static struct message *link_first(struct net_link *link)
{
    return list_empty(&link->queue) ? NULL : container_of(link->queue.next, struct message, queued);
}

static void link_pump(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct net_link *link = container_of(timer, struct net_link, pump);
    struct net_sim *net = link->net;
    struct message *message;
    if (net->cut[link->from][link->to]) {
        timer_start(net->executor, &link->pump, AGAIN_MS);
        return;
    }
    while ((message = link_first(link)) != NULL && message->ready_ns <= now_of(net)) {
        message_deliver(message);
    }
    if (message != NULL) {
        timer_begin(net, &link->pump, link_pump, message->ready_ns);
    }
}

static void request_copy(struct message *message, const struct rpc_call *outer)
{
    struct rpc_call *inner = &message->inner;
    message->head = mem_alloc(outer->head.len + 1);
    if (outer->head.len > 0) {
        memcpy(message->head, outer->head.data, outer->head.len);
    }
    inner->method = outer->method;
    inner->head = slice_of(message->head, outer->head.len);
    inner->payload_count = outer->payload_count;
    for (unsigned i = 0; i < outer->payload_count; i++) {
        inner->payloads[i] = buffer_ref(outer->payloads[i]);
    }
    inner->deadline_ns = outer->deadline_ns;
    inner->order = outer->order;
    inner->reply_to = message->link->net->executor;
    inner->done = on_inner_done;
}

static void link_call(struct rpc_channel *channel, struct rpc_call *outer)
{
    struct net_link *link = container_of(channel, struct net_link, channel);
    struct net_sim *net = link->net;
    uint64_t now = now_of(net);
    net->calls++;
    if (link->from_life != net->lives[link->from]) {
        rpc_call_finish(outer, error_set(&outer->error, ERRC_UNAVAILABLE, "this process is dead"));
        return;
    }
    struct message *message = mem_zalloc(sizeof(*message));
    message->link = link;
    message->outer = outer;
    request_copy(message, outer);
    message->ready_ns = now + delay_ns(net);
    message->ready_ns = message->ready_ns > link->last_ns ? message->ready_ns : link->last_ns;
    link->last_ns = message->ready_ns;
    list_append(&net->messages, &message->all);
    list_append(&link->queue, &message->queued);
    timer_begin(net, &message->deadline, on_deadline, outer->deadline_ns > 0 ? outer->deadline_ns : now + LOST_MS * NS_PER_MS);
    if (!link->pump.armed) {
        timer_begin(net, &link->pump, link_pump, message->ready_ns);
    }
}

static const struct rpc_channel_vt link_vt = { link_call };

unsigned net_sim_life(const struct net_sim *net, unsigned host)
{
    return net->lives[host];
}

struct rpc_channel *net_sim_channel(struct net_sim *net, unsigned from, unsigned life, unsigned to)
{
    ASSERT(from < NET_SIM_HOSTS && to < NET_SIM_HOSTS);
    list_for_each (node, &net->links) {
        struct net_link *link = container_of(node, struct net_link, all);
        if (link->from == from && link->to == to && link->from_life == life) {
            return &link->channel;
        }
    }
    struct net_link *link = mem_zalloc(sizeof(*link));
    link->channel.vt = &link_vt;
    link->net = net;
    link->from = from;
    link->to = to;
    link->from_life = life;
    list_init(&link->queue);
    list_append(&net->links, &link->all);
    return &link->channel;
}

/* ---- faults ---- */

static bool between(const struct message *message, unsigned a, unsigned b)
{
    const struct net_link *link = message->link;
    return (link->from == a && link->to == b) || (link->from == b && link->to == a);
}

/* Ends the calls of `a` and those to it; b < NET_SIM_HOSTS: only those between the two. */
static void calls_end(struct net_sim *net, unsigned a, unsigned b)
{
    struct list *next;
    for (struct list *node = net->messages.next; node != &net->messages; node = next) {
        struct message *message = container_of(node, struct message, all);
        next = node->next;
        bool hit = b < NET_SIM_HOSTS ? between(message, a, b) : message->link->from == a || message->link->to == a;
        if (hit && message->outer != NULL) {
            message_fail(message, ERRC_TIMEOUT, "the connection was lost before an answer");
        }
    }
}

void net_sim_serve(struct net_sim *net, unsigned host, struct rpc_channel *door)
{
    net->doors[host] = door;
}

void net_sim_kill(struct net_sim *net, unsigned host)
{
    net->doors[host] = NULL;
    net->lives[host]++;
    calls_end(net, host, NET_SIM_HOSTS);
}

void net_sim_cut(struct net_sim *net, unsigned from, unsigned to, bool cut)
{
    net->cut[from][to] = cut;
}

bool net_sim_is_cut(const struct net_sim *net, unsigned from, unsigned to)
{
    return net->cut[from][to];
}

void net_sim_disconnect(struct net_sim *net, unsigned a, unsigned b)
{
    calls_end(net, a, b);
}

void net_sim_heal(struct net_sim *net)
{
    memset(net->cut, 0, sizeof(net->cut));
}

void net_sim_delay(struct net_sim *net, uint32_t max_us)
{
    net->delay_us = max_us;
}

uint64_t net_sim_calls(const struct net_sim *net)
{
    return net->calls;
}

/* ---- life ---- */

struct net_sim *net_sim_create(struct env_sim *sim)
{
    struct net_sim *net = mem_zalloc(sizeof(*net));
    struct env *env = env_sim_env(sim);
    net->sim = sim;
    net->executor = env->vt->executor_create(env, "net", 1);
    net->delay_us = DELAY_US;
    list_init(&net->links);
    list_init(&net->messages);
    return net;
}

void net_sim_destroy(struct net_sim *net)
{
    while (!list_empty(&net->messages)) {
        bool more = env_sim_step(net->sim);
        ASSERT(more);
    }
    while (!list_empty(&net->links)) {
        struct net_link *link = container_of(list_pop(&net->links), struct net_link, all);
        timer_stop(net->executor, &link->pump);
        mem_free(link);
    }
    executor_destroy(net->executor);
    mem_free(net);
}
