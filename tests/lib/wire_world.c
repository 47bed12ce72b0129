#include "tests/lib/wire_world.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now_s(void)
{
    return (int64_t)(env_wall_ms(env_real()) / 1000);
}

struct node_id wire_node(uint8_t node)
{
    struct node_id id;
    memset(id.bytes, node, sizeof(id.bytes));
    return id;
}

static void must(enum errc rc, const struct error *e)
{
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "%s: %s\n", errc_name(rc), e->text);
    }
    ASSERT(rc == ERRC_OK);
}

void wire_ca_init(struct wire_ca *ca, uint8_t number)
{
    struct error e = ERROR_INIT;
    memset(ca->cluster.bytes, number, sizeof(ca->cluster.bytes));
    must(certificate_key_create(&ca->key, &e), &e);
    must(certificate_ca_create(ca->key, ca->cluster, now_s() - 86400 * 30, now_s() + 86400, &ca->pem, &e), &e);
}

void wire_ca_done(struct wire_ca *ca)
{
    certificate_key_free(ca->key);
    mem_free(ca->pem);
}

struct tls_context *wire_context(const struct wire_ca *ca, enum cluster_role role, uint8_t node, int64_t from_s, int64_t to_s)
{
    struct error e = ERROR_INIT;
    char *key;
    char *request;
    char *pem;
    struct certificate_identity identity = { ca->cluster, wire_node(node), (uint8_t)role, now_s() + from_s, now_s() + to_s };
    struct tls_context *context;
    must(certificate_key_create(&key, &e), &e);
    must(certificate_request_create(key, identity.node, &request, &e), &e);
    must(certificate_issue(ca->pem, ca->key, request, &identity, &pem, &e), &e);
    struct tls_material material = { ca->pem, pem, key };
    must(tls_context_create(&material, &context, &e), &e);
    certificate_key_free(key);
    mem_free(request);
    mem_free(pem);
    return context;
}

/* ---- the service ---- */

static void echo(struct rpc_call *call)
{
    enc_raw(&call->reply, call->head.data, call->head.len);
    for (unsigned i = 0; i < call->payload_count; i++) {
        call->reply_payloads[i] = buffer_ref(call->payloads[i]);
    }
    call->reply_payload_count = call->payload_count;
    rpc_call_finish(call, ERRC_OK);
}

static void order_note(struct wire_world *world, struct slice head)
{
    ASSERT(head.len == 6);
    unsigned number = 0;
    for (unsigned i = 2; i < 6; i++) {
        number = number * 10 + (head.data[i] - '0');
    }
    unsigned *next = &world->order_next[head.data[1] - '0'];
    (void)atomic_fetch_add(&world->disordered, number == *next ? 0 : 1);
    *next = number + 1;
}

static void service_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct wire_world *world = container_of(channel, struct wire_world, service);
    ASSERT(loop_is_current(world->server_loop));
    (void)atomic_fetch_add(&world->calls, 1);
    atomic_store(&world->last_role, call->peer != NULL ? call->peer->role : 99);
    uint64_t now = env_now_ns(env_real());
    atomic_store(&world->last_deadline_ms,
                 call->deadline_ns > now ? (unsigned)((call->deadline_ns - now) / 1000000u) + 1 : 0);
    switch (call->head.len > 0 ? call->head.data[0] : WIRE_ECHO) {
    case WIRE_HOLD:
        call->next = world->held;
        world->held = call;
        break;
    case WIRE_GROW: {
        struct buffer *buffer = buffer_new(world->reply_bytes);
        buffer->len = world->reply_bytes;
        memset(buffer->data, 'g', buffer->len);
        call->reply_payloads[call->reply_payload_count++] = buffer;
        rpc_call_finish(call, ERRC_OK);
        break;
    }
    case WIRE_ORDER:
        order_note(world, call->head);
        echo(call);
        break;
    case WIRE_FAIL:
        enc_raw(&call->reply, "where", 5);
        rpc_call_finish(call, error_set(&call->error, ERRC_NOT_FOUND, "no such thing"));
        break;
    default:
        echo(call);
    }
}

static const struct rpc_channel_vt service_vt = { service_call };

static void on_refused(void *data, const char *address, const struct error *reason)
{
    struct wire_world *world = data;
    (void)pthread_mutex_lock(&world->lock);
    world->refused++;
    (void)snprintf(world->refused_address, sizeof(world->refused_address), "%s", address);
    world->refused_reason = *reason;
    (void)pthread_mutex_unlock(&world->lock);
}

unsigned wire_world_refused(struct wire_world *world, struct error *ret_last)
{
    (void)pthread_mutex_lock(&world->lock);
    unsigned refused = world->refused;
    if (refused > 0) {
        ASSERT(strncmp(world->refused_address, "127.0.0.1:", 10) == 0);
    }
    if (ret_last != NULL) {
        *ret_last = world->refused_reason;
    }
    (void)pthread_mutex_unlock(&world->lock);
    return refused;
}

void wire_world_await_refused(struct wire_world *world, unsigned count, struct error *ret_last)
{
    for (unsigned i = 0; i < 1000 && wire_world_refused(world, ret_last) < count; i++) {
        struct timespec pause = { 0, 10 * 1000 * 1000 };
        (void)nanosleep(&pause, NULL);
    }
    ASSERT(wire_world_refused(world, ret_last) == count);
}

/* ---- on the server's loop ---- */

struct errand {
    struct task task;
    struct wire_world *world;
    sem_t done;
};

static void on_release(struct task *task)
{
    struct errand *errand = container_of(task, struct errand, task);
    struct rpc_call *call = errand->world->held;
    errand->world->held = NULL;
    while (call != NULL) {
        struct rpc_call *next = call->next;
        echo(call);
        call = next;
    }
    (void)sem_post(&errand->done);
}

static void on_sync(struct task *task)
{
    (void)sem_post(&container_of(task, struct errand, task)->done);
}

static void errand_run(struct wire_world *world, void (*run)(struct task *task))
{
    struct errand errand = { .task = { run, NULL }, .world = world };
    (void)sem_init(&errand.done, 0, 0);
    executor_post(loop_executor(world->server_loop), &errand.task);
    (void)sem_wait(&errand.done);
    (void)sem_destroy(&errand.done);
}

void wire_world_release(struct wire_world *world)
{
    errand_run(world, on_release);
}

void wire_world_sync(struct wire_world *world)
{
    errand_run(world, on_sync);
}

/* ---- life ---- */

void wire_world_open(struct wire_world *world, enum cluster_role role, const struct rpc_server_limits *limits)
{
    struct error e = ERROR_INIT;
    memset(world, 0, sizeof(*world));
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)sem_init(&world->wake, 0, 0);
    wire_ca_init(&world->ca, 0xc1);
    world->service.vt = &service_vt;
    world->server_tls = wire_context(&world->ca, role, 1, -3600, 3600);
    must(loop_create(env_real(), "server", &world->server_loop, &e), &e);
    must(loop_create(env_real(), "client", &world->client_loop, &e), &e);
    struct rpc_server_config config = {
        .env = env_real(),
        .loop = world->server_loop,
        .tls = world->server_tls,
        .cluster = world->ca.cluster,
        .node = wire_node(1),
        .on_refused = on_refused,
        .data = world,
    };
    if (limits != NULL) {
        config.limits = *limits;
    }
    must(rpc_server_open(&config, "127.0.0.1:0", &world->server, &e), &e);
    rpc_server_route(world->server, 0x0000, 0xffff, &world->service);
    (void)snprintf(world->address, sizeof(world->address), "127.0.0.1:%u", rpc_server_port(world->server));
    must(loop_start(world->server_loop, &e), &e);
    must(loop_start(world->client_loop, &e), &e);
}

void wire_wake(void *semaphore)
{
    (void)sem_post(semaphore);
}

void wire_world_stop_server(struct wire_world *world, uint32_t grace_ms)
{
    rpc_server_stop(world->server, grace_ms, wire_wake, &world->wake);
    (void)sem_wait(&world->wake);
    rpc_server_destroy(world->server);
    world->server = NULL;
}

void wire_world_close(struct wire_world *world)
{
    if (world->server != NULL) {
        wire_world_stop_server(world, 5000);
    }
    loop_destroy(world->client_loop);
    loop_destroy(world->server_loop);
    tls_context_destroy(world->server_tls);
    wire_ca_done(&world->ca);
    (void)sem_destroy(&world->wake);
    (void)pthread_mutex_destroy(&world->lock);
    buffer_trim();
    ASSERT(buffer_live_bytes() == 0);
}

struct rpc_client_config wire_client_config(struct wire_world *world, struct tls_context *tls, uint8_t node)
{
    return (struct rpc_client_config){
        .env = env_real(),
        .loop = world->client_loop,
        .tls = tls,
        .address = world->address,
        .cluster = world->ca.cluster,
        .self = wire_node(node),
    };
}

void wire_client_destroy(struct rpc_client *client)
{
    sem_t done;
    (void)sem_init(&done, 0, 0);
    rpc_client_destroy(client, wire_wake, &done);
    (void)sem_wait(&done);
    (void)sem_destroy(&done);
}

/* ---- calls ---- */

static void on_done(struct rpc_call *call)
{
    (void)sem_post(&container_of(call, struct wire_call, call)->done);
}

void wire_call_start(struct wire_call *call, struct wire_world *world, struct rpc_client *client, uint16_t method,
                     const char *head, uint32_t timeout_ms)
{
    (void)sem_init(&call->done, 0, 0);
    call->call.method = method;
    if (head != NULL) {
        call->call.head = slice_str(head);
    }
    if (timeout_ms > 0) {
        call->call.deadline_ns = env_now_ns(env_real()) + (uint64_t)timeout_ms * 1000000u;
    }
    call->call.reply_to = loop_executor(world->client_loop);
    call->call.done = on_done;
    rpc_call_start(rpc_client_channel(client), &call->call);
}

enum errc wire_call_wait(struct wire_call *call)
{
    struct timespec limit;
    (void)clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 60;
    int failed = sem_timedwait(&call->done, &limit);
    ASSERT(failed == 0);
    (void)sem_destroy(&call->done);
    return call->call.status;
}

enum errc wire_call_once(struct wire_world *world, struct rpc_client *client, uint16_t method, const char *head,
                         struct error *ret_error)
{
    struct wire_call *call = mem_zalloc(sizeof(*call));
    wire_call_start(call, world, client, method, head, 30000);
    enum errc status = wire_call_wait(call);
    if (ret_error != NULL) {
        *ret_error = call->call.error;
    }
    rpc_call_release(&call->call);
    mem_free(call);
    return status;
}
