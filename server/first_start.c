#include "server/first_start.h"

#include "common/base/mem.h"
#include "common/io/log.h"
#include "metadata/mirror.h"

static enum errc state_read(struct data_dirs *dirs, const struct data_dir *dir, struct mirror_state *ret)
{
    struct mirror mirror;
    mirror_init(&mirror, dirs->env, dirs->cluster, dir->disk, dir->path);
    enum errc rc = mirror_state_read(&mirror, ret, NULL);
    mirror_done(&mirror);
    return rc;
}

static bool has_segments(struct data_dirs *dirs, const struct data_dir *dir)
{
    struct env_stat stat;
    char *path = mem_format("%s/segments", dir->path);
    bool there = dirs->env->vt->stat_path(dirs->env, path, &stat, NULL) != ERRC_NOT_FOUND;
    mem_free(path);
    return there;
}

/* A known DIR's state; false: there is none, or something was stored already. */
static bool begun(struct data_dirs *dirs, struct mirror_state *ret)
{
    bool found = false;
    for (unsigned i = 0; i < dirs->count; i++) {
        const struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind == DATA_DIR_KNOWN) {
            if (has_segments(dirs, dir) || state_read(dirs, dir, ret) != ERRC_OK) {
                return false;
            }
            found = true;
        }
    }
    return found;
}

static bool belongs(const struct data_dirs *dirs, const struct mirror_state *begun, const struct mirror_state *own)
{
    bool counted = false;
    for (unsigned d = 0; d < begun->dir_count; d++) {
        counted = counted || disk_id_equal(begun->dirs[d].disk, own->self);
    }
    for (unsigned i = 0; i < dirs->count; i++) { /* a copy of a known DIR's metadata makes no second one */
        counted = counted && !(dirs->dirs[i].kind == DATA_DIR_KNOWN && disk_id_equal(dirs->dirs[i].disk, own->self));
    }
    return counted && cluster_id_equal(own->cluster, dirs->cluster) && own->generation == begun->generation &&
           own->nonce == begun->nonce;
}

enum errc first_start_finish(struct data_dirs *dirs, struct error *e)
{
    struct mirror_state *first = mem_zalloc(sizeof(*first));
    struct mirror_state *own = mem_zalloc(sizeof(*own));
    bool unfinished = begun(dirs, first);
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; i < dirs->count && unfinished && rc == ERRC_OK; i++) {
        struct data_dir *dir = &dirs->dirs[i];
        if (dir->kind == DATA_DIR_EMPTY && dir->unfinished && state_read(dirs, dir, own) == ERRC_OK &&
            belongs(dirs, first, own)) {
            dir->disk = own->self;
            rc = data_dir_format(dirs->env, dir, dirs->cluster, e);
            dirs->known_count += rc == ERRC_OK ? 1 : 0;
            LOG_INFO(log_event("first_start_goes_on"), log_text("path", dir->path));
        }
    }
    mem_free(own);
    mem_free(first);
    return rc;
}
