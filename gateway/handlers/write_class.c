/*   (class named) ASKED -> (no group of that code in the map that this gateway has) REFRESHING -> next          */
#include "gateway/handlers/write_class.h"

#include "common/base/storage_class.h"
#include "gateway/data/object_writer.h"

/* A map that is asked for anew. In the request's scratch arena. */
struct refresh {
    struct task task;
    struct request *request;
};

static void refreshed_run(struct task *task)
{
    struct request *r = container_of(task, struct refresh, task)->request;
    request_resume(r);
    r->class_next(r);
}

/* On the map's executor. Without a new map the writer says what is missing. */
static void refreshed(void *data, enum errc status)
{
    struct refresh *refresh = data;
    (void)status;
    executor_post(refresh->request->executor, &refresh->task);
}

/* A class that was made a moment ago has groups that this gateway has not heard of yet. */
static void groups_await(struct request *r)
{
    struct cluster_map *map = request_store(r)->map;
    if (cluster_map_has_class(map, r->class_k, r->class_m)) {
        r->class_next(r);
        return;
    }
    struct refresh *refresh = request_zalloc(r, sizeof(*refresh));
    *refresh = (struct refresh){ .task.run = refreshed_run, .request = r };
    request_hold(r);
    cluster_map_refresh(map, refreshed, refresh);
}

static void refuse(struct request *r)
{
    (void)s3_fail(&r->err, S3_ERROR_INVALID_STORAGE_CLASS, NULL); /* returns the code that was given */
    s3_error_add(&r->err, "StorageClassRequested", r->class_name);
    request_fail(r);
}

static void class_asked(struct request *r)
{
    const struct request_call *call = r->calls;
    struct storage_classes list = { .count = 0 };
    if (request_call_failed(r, call)) {
        return;
    }
    const struct meta_setting_reply *reply = &call->op.setting;
    if (reply->outcome == META_OK) {
        enum errc rc = storage_classes_decode(reply->value, &list);
        if (rc != ERRC_OK) {
            struct error story = ERROR_INIT;
            request_fail_errc(r, error_set(&story, rc, "the list of storage classes cannot be read"), &story);
            return;
        }
    }
    const struct storage_class *class = storage_classes_find(&list, r->class_name);
    if (class != NULL) {
        r->class_k = class->k;
        r->class_m = class->m;
    } else if (r->class_must_exist && !s3_storage_class_valid(r->class_name)) {
        refuse(r);
        return;
    }
    groups_await(r);
}

void write_class_ask(struct request *r, struct slice name, bool must_exist, request_step *next)
{
    const struct meta_query query = { .type = META_QRY_SETTING, .name = slice_str(STORAGE_CLASSES_SETTING) };
    r->class_k = r->bucket.class_k;
    r->class_m = r->bucket.class_m;
    r->class_name = name;
    r->class_must_exist = must_exist;
    r->class_next = next;
    if (name.len == 0) {
        groups_await(r);
        return;
    }
    (void)request_query(r, &query, class_asked); /* found again as r->calls */
}

bool write_class_fits(const struct request *r, const struct meta_data_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct extent *extent = &extents[i].extent;
        if (extent->class_m != r->class_m ||
            extent->class_k != object_writer_k(request_store(r), extent->logical_bytes, r->class_k, r->class_m)) {
            return false;
        }
    }
    return true;
}
