#include "server/cluster_voters.h"

#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/log.h"
#include "server/cluster.h"

#include <stdio.h>
#include <string.h>

STATIC_ASSERT(METADATA_VOTERS_MAX < CLUSTER_VOTERS_MAX, "a client follows fewer voters than are known");

/* ---- links; under the guard ---- */

static struct cluster_voter_link *link_find(struct cluster *cluster, struct node_id node, const char *address)
{
    for (unsigned i = 0; i < cluster->link_count; i++) {
        struct cluster_voter_link *link = &cluster->links[i];
        if (node_id_equal(link->node, node) && (address == NULL ? link->current : strcmp(link->address, address) == 0)) {
            return link;
        }
    }
    return NULL;
}

/* NULL: too many addresses since the start. */
static struct cluster_voter_link *link_add(struct cluster *cluster, struct node_id node, const char *address)
{
    struct server *server = cluster->server;
    if (cluster->link_count == CLUSTER_LINKS_MAX) {
        LOG_ERROR(log_event("too_many_voters"), log_text("address", address));
        return NULL;
    }
    struct cluster_voter_link *link = &cluster->links[cluster->link_count++];
    *link = (struct cluster_voter_link){ .node = node };
    (void)snprintf(link->address, sizeof(link->address), "%s", address);
    const struct rpc_client_config config = {
        .env = server->env, .loop = cluster->out_loop, .tls = cluster->tls, .address = link->address,
        .cluster = cluster->identity.cluster, .self = cluster->identity.node, .role = ROLE_METADATA, .node = node,
    };
    link->client = rpc_client_create(&config);
    return link;
}

/* By the identity's list. */
static void links_follow(struct cluster *cluster)
{
    const struct identity *identity = &cluster->identity;
    for (unsigned i = 0; i < cluster->link_count; i++) {
        cluster->links[i].current = false;
    }
    for (unsigned i = 0; i < identity->voter_count; i++) {
        const struct identity_voter *voter = &identity->voters[i];
        if (node_id_equal(voter->node, identity->node)) {
            continue;
        }
        struct cluster_voter_link *link = link_find(cluster, voter->node, voter->address);
        link = link != NULL ? link : link_add(cluster, voter->node, voter->address);
        if (link != NULL) {
            link->current = true;
        }
    }
}

static unsigned list_fill(struct cluster *cluster, struct metadata_voter *voters)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cluster->link_count && count < CLUSTER_VOTERS_MAX; i++) {
        if (cluster->links[i].current) {
            voters[count++] = (struct metadata_voter){ cluster->links[i].node, rpc_client_channel(cluster->links[i].client) };
        }
    }
    return count;
}

/* ---- who follows ---- */

/* A voter named a leader that is not in the list. */
static void on_unknown(void *data, const struct meta_leader *leader)
{
    struct server *server = data;
    (void)leader;
    if (server->map != NULL) {
        cluster_map_refresh(server->map, NULL, NULL);
    }
}

void cluster_voters_follow(struct server *server)
{
    struct metadata_voter voters[CLUSTER_VOTERS_MAX + 1];
    unsigned count = 0;
    if (server->voter != NULL) {
        voters[count++] = (struct metadata_voter){ server->node_id, voter_channel(server->voter) };
    }
    count += cluster_voters_list(server, voters + count);
    count = count < METADATA_VOTERS_MAX ? count : METADATA_VOTERS_MAX;
    if (count > 0) {
        metadata_client_voters(&server->meta, voters, count, on_unknown, server);
    }
}

unsigned cluster_voters_list(struct server *server, struct metadata_voter ret_voters[CLUSTER_VOTERS_MAX])
{
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    unsigned count = list_fill(cluster, ret_voters);
    (void)pthread_mutex_unlock(&cluster->guard);
    return count;
}

struct rpc_channel *cluster_voter_channel(struct server *server, const char *node)
{
    struct cluster *cluster = server->cluster;
    struct node_id id;
    struct rpc_channel *channel = NULL;
    if (!id_from_hex(node, strlen(node), id.bytes)) {
        return NULL;
    }
    (void)pthread_mutex_lock(&cluster->guard);
    const struct cluster_voter_link *link = link_find(cluster, id, NULL);
    channel = link != NULL ? rpc_client_channel(link->client) : NULL;
    (void)pthread_mutex_unlock(&cluster->guard);
    return channel;
}

/* ---- changes ---- */

static void identity_save(struct task *task)
{
    struct cluster *cluster = container_of(task, struct cluster, identity_task);
    struct server *server = cluster->server;
    struct identity *copy = mem_alloc(sizeof(*copy));
    struct error e = ERROR_INIT;
    (void)pthread_mutex_lock(&cluster->guard);
    *copy = cluster->identity;
    cluster->identity_posted = false;
    (void)pthread_mutex_unlock(&cluster->guard);
    if (identity_write(server->env, server->options.data, copy, &e) != ERRC_OK) {
        LOG_WARN(log_event("voters_not_noted"), log_error_of(&e)); /* until they change again, or the next start */
    }
    mem_free(copy);
}

static bool same_voters(const struct identity *identity, const struct cluster_voter *voters, unsigned count)
{
    bool same = identity->voter_count == count;
    for (unsigned i = 0; same && i < count; i++) {
        same = node_id_equal(identity->voters[i].node, voters[i].node) &&
               slice_equal_str(voters[i].address, identity->voters[i].address);
    }
    return same;
}

static void voter_note(struct identity *identity, const struct cluster_voter *voter)
{
    struct identity_voter *to = &identity->voters[identity->voter_count++];
    to->node = voter->node;
    (void)snprintf(to->address, sizeof(to->address), "%.*s", (int)voter->address.len, (const char *)voter->address.data);
}

static bool voter_known(const struct identity *identity, struct node_id node)
{
    bool known = false;
    for (unsigned i = 0; i < identity->voter_count; i++) {
        known = known || node_id_equal(identity->voters[i].node, node);
    }
    return known;
}

/* Under the guard. True: they are others than before. */
static bool voters_replace(struct identity *identity, const struct cluster_voter *voters, unsigned count)
{
    bool changed = count > 0 && count <= CLUSTER_VOTERS_MAX && !same_voters(identity, voters, count);
    identity->voter_count = changed ? 0 : identity->voter_count;
    for (unsigned i = 0; i < count && changed; i++) {
        voter_note(identity, &voters[i]);
    }
    return changed;
}

static bool voters_join(struct identity *identity, const struct cluster_voter *voters, unsigned count)
{
    bool changed = false;
    for (unsigned i = 0; i < count && identity->voter_count < CLUSTER_VOTERS_MAX; i++) {
        if (!voter_known(identity, voters[i].node)) {
            voter_note(identity, &voters[i]);
            changed = true;
        }
    }
    return changed;
}

static void voters_change(struct server *server, const struct cluster_voter *voters, unsigned count, bool all)
{
    struct cluster *cluster = server->cluster;
    struct identity *identity = &cluster->identity;
    (void)pthread_mutex_lock(&cluster->guard);
    bool changed = all ? voters_replace(identity, voters, count) : voters_join(identity, voters, count);
    if (changed) {
        links_follow(cluster);
    }
    if (changed && !cluster->identity_posted && !cluster->jobs_ended) {
        cluster->identity_posted = true;
        cluster->identity_task.run = identity_save;
        executor_post(server->admin_jobs, &cluster->identity_task); /* under the guard: they are there still */
    }
    (void)pthread_mutex_unlock(&cluster->guard);
    if (changed) {
        cluster_voters_follow(server);
    }
}

void cluster_voters_take(struct server *server, const struct cluster_voter *voters, unsigned count)
{
    voters_change(server, voters, count, true);
}

void cluster_voters_add(struct server *server, const struct cluster_voter *voters, unsigned count)
{
    voters_change(server, voters, count, false);
}

void cluster_voters_begin(struct server *server)
{
    struct cluster *cluster = server->cluster;
    (void)pthread_mutex_lock(&cluster->guard);
    links_follow(cluster);
    (void)pthread_mutex_unlock(&cluster->guard);
}

static void on_ended(void *data)
{
    waiter_wake(data, ERRC_OK);
}

void cluster_voters_end(struct server *server)
{
    struct cluster *cluster = server->cluster;
    for (unsigned i = 0; i < cluster->link_count; i++) {
        struct waiter waiter;
        waiter_init(&waiter);
        rpc_client_destroy(cluster->links[i].client, on_ended, &waiter);
        (void)waiter_wait(&waiter); /* always OK */
    }
    cluster->link_count = 0;
}
