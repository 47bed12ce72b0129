#include "tests/lib/node_fixture.h"

#include "common/base/assert.h"
#include "storage-node/superblock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void shell(const char *format, const char *a, const char *b)
{
    char command[600];
    int len = snprintf(command, sizeof(command), "%s %s %s", format, a, b);
    ASSERT(len > 0);
    ASSERT((size_t)len < sizeof(command));
    int rc = system(command);
    ASSERT(rc == 0);
}

void node_fixture_init(struct node_fixture *f, const char *parent, struct env *env)
{
    *f = (struct node_fixture){ .env = env != NULL ? env : env_real() };
    (void)snprintf(f->root, sizeof(f->root), "%s/cairn-node-XXXXXX", parent);
    char *made = mkdtemp(f->root);
    ASSERT(made != NULL);
    (void)snprintf(f->dir, sizeof(f->dir), "%s/disk", f->root);
    int rc = mkdir(f->dir, 0700);
    ASSERT(rc == 0);
    memset(f->client.cluster.bytes, 0xc1, ID_BYTES);
    memset(f->client.disk.bytes, 0xd1, ID_BYTES);
    struct superblock superblock = { .cluster = f->client.cluster, .disk = f->client.disk };
    enum errc written = superblock_write(env_real(), f->dir, &superblock, NULL);
    ASSERT(written == ERRC_OK);
    f->options = (struct node_disk_options){ .segment_bytes = 1u << 20 };
    f->home = f->env->vt->executor_create(f->env, "home", 1);
    f->kv_factory = kv_factory_rocksdb();
    f->client.home = f->home;
    f->client.wait = node_client_wait_thread;
}

void node_fixture_begin(struct node_fixture *f)
{
    struct node_disk_config disk = { .id = f->client.disk, .path = f->dir, .options = f->options };
    struct node_config config = {
        .env = f->env,
        .kv_factory = f->kv_factory,
        .home = f->home,
        .cluster = f->client.cluster,
        .callbacks = node_client_callbacks(&f->client),
        .disk_count = 1,
        .disks = &disk,
    };
    atomic_store(&f->client.state, 0);
    struct error e = ERROR_INIT;
    enum errc rc = node_open(&config, &f->client.node, &e);
    ASSERT(rc == ERRC_OK);
}

enum disk_state node_fixture_start(struct node_fixture *f)
{
    node_fixture_begin(f);
    return node_client_wait_state(&f->client);
}

void node_fixture_stop(struct node_fixture *f)
{
    node_client_close(&f->client);
}

/* The copy has other inodes, as a restored folder would: the superblock is compared within one run only. */
void node_fixture_crash_copy(struct node_fixture *f)
{
    char copy[180];
    (void)snprintf(copy, sizeof(copy), "%s.crashed", f->dir);
    shell("cp -a --sparse=always", f->dir, copy);
    node_fixture_stop(f);
    shell("rm -rf", f->dir, "");
    shell("mv", copy, f->dir);
}

void node_fixture_done(struct node_fixture *f)
{
    if (f->client.node != NULL) {
        node_fixture_stop(f);
    }
    executor_destroy(f->home);
    shell("rm -rf", f->root, "");
}
