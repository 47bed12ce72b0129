/*
 * voter_fixture - one voter over some DIRs of a simulated machine, and short ways to use it.
 *
 * Commands are settings: vf_put names and values them, vf_get reads them back through META_QUERY. Everything runs in
 * the calling thread (env_sim); DIRs are /d0, /d1 and so on.
 */
#ifndef TESTS_LIB_VOTER_FIXTURE_H
#define TESTS_LIB_VOTER_FIXTURE_H

#include "metadata/voter.h"
#include "tests/lib/dir_fault.h"
#include "tests/sim/lib/env_sim.h"
#include "tests/sim/lib/kv_sim.h"

#define VF_DIRS_MAX 8
#define VF_DISK_BYTES (256u << 20)

struct vf {
    struct env_sim *sim;
    struct dir_fault fault;
    struct kv_sim_factory kv;
    struct executor *executor, *query_pool, *home;
    struct voter *voter;        /* NULL: closed */
    unsigned dirs, wanted;
    unsigned wanted_later; /* given to a start that is not the first; 0: as recorded */
    bool absent[VF_DIRS_MAX];   /* not given to the voter at the next open */
    uint64_t checkpoint_log_bytes, log_segment_bytes;
    unsigned start_without_count;
    const char *start_without[VF_DIRS_MAX];
    char *events;               /* names and texts, one line each */
    struct error error;         /* of the last open that failed */
};

/* One command on its way. */
struct vf_put {
    struct rpc_call call;
    struct enc head;
    atomic_bool done;
    enum errc status;           /* and, if OK, the outcome was OK too */
};

void vf_init(struct vf *f, uint64_t seed, unsigned dirs, unsigned wanted);
void vf_done(struct vf *f);
MUST_CHECK enum errc vf_open(struct vf *f, bool bootstrap);
void vf_close(struct vf *f);
void vf_restart(struct vf *f); /* asserts that it opens */
/* Power fails: the voter goes on where it was, is closed there, and f stands on what the disks kept. */
void vf_crash(struct vf *f);
/* f stands on `clone`, which was taken of its machine; the voter was closed. */
void vf_adopt(struct vf *f, struct env_sim *clone);
void vf_run_ms(struct vf *f, uint64_t ms);

void vf_put_start(struct vf *f, struct vf_put *put, const char *name, const char *value);
enum errc vf_put_wait(struct vf *f, struct vf_put *put); /* and frees it */
MUST_CHECK enum errc vf_put(struct vf *f, const char *name, const char *value);
MUST_CHECK enum errc vf_put_bytes(struct vf *f, const char *name, size_t bytes);
/* True: it is there with this value. status other than OK is an assertion. */
bool vf_has(struct vf *f, const char *name, const char *value);
enum errc vf_get_status(struct vf *f, const char *name);
void vf_put_many(struct vf *f, const char *prefix, unsigned first, unsigned end); /* asserts OK */
bool vf_has_many(struct vf *f, const char *prefix, unsigned first, unsigned end);

struct voter_status *vf_status(struct vf *f);
bool vf_event(const struct vf *f, const char *name); /* has been seen since vf_events_clear */
void vf_events_clear(struct vf *f);

struct disk_id vf_disk(unsigned i);
const char *vf_path(unsigned i);
void vf_dir_remove(struct vf *f, unsigned i, const char *below); /* "": the whole DIR */
void vf_dir_hide(struct vf *f, unsigned i);   /* renamed away */
void vf_dir_unhide(struct vf *f, unsigned i);
void vf_dir_make(struct vf *f, unsigned i);
/* Files in DIR/metadata by prefix of their name; paths are the caller's to free. */
unsigned vf_files(struct vf *f, unsigned i, const char *below, const char *prefix, char **ret_paths, unsigned max);

#endif
