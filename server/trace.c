#include "server/trace.h"

#include "common/base/mem.h"
#include "gateway/s3/s3_operations.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct trace_line {
    char *json;     /* NULL: no line */
    size_t bytes;
    unsigned status;
    char *bucket;
};

struct trace {
    struct env *env;
    uint64_t instance;             /* random: another one after a restart, numbers begin anew */
    _Atomic uint64_t on_until_ns;
    pthread_mutex_t lock;          /* of what follows */
    struct trace_line lines[TRACE_LINES_MAX]; /* line n at n % TRACE_LINES_MAX */
    uint64_t first, next;          /* numbers of the oldest line, and of the one to come; from 1 */
    size_t bytes;
};

struct trace *trace_create(struct env *env)
{
    struct trace *trace = mem_zalloc(sizeof(*trace));
    trace->env = env;
    env_random(env, &trace->instance, sizeof(trace->instance));
    trace->instance &= UINT64_C(0x001fffffffffffff); /* exact in every JSON reader */
    trace->first = 1;
    trace->next = 1;
    (void)pthread_mutex_init(&trace->lock, NULL);
    return trace;
}

static void line_drop(struct trace *trace)
{
    struct trace_line *line = &trace->lines[trace->first++ % TRACE_LINES_MAX];
    trace->bytes -= line->bytes;
    mem_free(line->json);
    mem_free(line->bucket);
    *line = (struct trace_line){ .json = NULL };
}

void trace_destroy(struct trace *trace)
{
    if (trace == NULL) {
        return;
    }
    while (trace->first < trace->next) {
        line_drop(trace);
    }
    (void)pthread_mutex_destroy(&trace->lock);
    mem_free(trace);
}

static json_t *text_json(struct slice text)
{
    json_t *json = text.len > 0 ? json_stringn((const char *)text.data, text.len) : json_string("");
    return json != NULL ? json : json_string("(not UTF-8)");
}

static char *line_json(struct trace *trace, const struct gateway_access *access)
{
    json_t *json = json_object();
    (void)json_object_set_new(json, "time_ms", json_integer((json_int_t)env_wall_ms(trace->env)));
    (void)json_object_set_new(json, "id", text_json(access->request_id));
    (void)json_object_set_new(json, "method", text_json(access->method));
    (void)json_object_set_new(json, "op", json_string(s3_operation_name(access->operation)));
    (void)json_object_set_new(json, "bucket", text_json(access->bucket));
    (void)json_object_set_new(json, "key", text_json(access->key));
    (void)json_object_set_new(json, "status", json_integer(access->status));
    (void)json_object_set_new(json, "cut", json_boolean(access->cut));
    (void)json_object_set_new(json, "code", text_json(access->error_code));
    (void)json_object_set_new(json, "received", json_integer((json_int_t)access->received_bytes));
    (void)json_object_set_new(json, "sent", json_integer((json_int_t)access->sent_bytes));
    (void)json_object_set_new(json, "us", json_integer((json_int_t)access->duration_us));
    (void)json_object_set_new(json, "principal", text_json(access->principal));
    (void)json_object_set_new(json, "peer", json_string(access->peer != NULL ? access->peer : ""));
    char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(json);
    return text;
}

void trace_add(struct trace *trace, const struct gateway_access *access)
{
    if (env_now_ns(trace->env) >= atomic_load_explicit(&trace->on_until_ns, memory_order_relaxed)) {
        return;
    }
    char *json = line_json(trace, access);
    if (json == NULL) {
        return; /* no memory: jansson's own */
    }
    size_t bytes = strlen(json) + access->bucket.len;
    (void)pthread_mutex_lock(&trace->lock);
    while (trace->first < trace->next &&
           (trace->next - trace->first >= TRACE_LINES_MAX || trace->bytes + bytes > TRACE_BYTES_MAX)) {
        line_drop(trace);
    }
    trace->lines[trace->next++ % TRACE_LINES_MAX] = (struct trace_line){
        mem_strdup(json), bytes, access->status, mem_strndup((const char *)access->bucket.data, access->bucket.len)
    };
    trace->bytes += bytes;
    (void)pthread_mutex_unlock(&trace->lock);
    free(json);
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

bool trace_status_valid(const char *status)
{
    return strlen(status) == 3 && digit(status[0]) &&
           ((digit(status[1]) && digit(status[2])) || strcmp(status + 1, "xx") == 0);
}

static bool line_wanted(const struct trace_line *line, const struct trace_filter *filter)
{
    char status[16];
    (void)snprintf(status, sizeof(status), "%03u", line->status);
    size_t length = filter->status != NULL && filter->status[1] == 'x' ? 1 : 3;
    return (filter->bucket == NULL || strcmp(line->bucket, filter->bucket) == 0) &&
           (filter->status == NULL || strncmp(status, filter->status, length) == 0);
}

json_t *trace_answer(struct trace *trace, bool has_after, uint64_t after, const struct trace_filter *filter)
{
    json_t *lines = json_array();
    atomic_store(&trace->on_until_ns, env_now_ns(trace->env) + TRACE_ON_NS);
    (void)pthread_mutex_lock(&trace->lock);
    uint64_t from = has_after && after < trace->next ? after + 1 : trace->next;
    uint64_t dropped = from < trace->first ? trace->first - from : 0;
    from += dropped;
    for (; from < trace->next && json_array_size(lines) < TRACE_ANSWER_LINES; from++) {
        const struct trace_line *line = &trace->lines[from % TRACE_LINES_MAX];
        if (line_wanted(line, filter)) {
            (void)json_array_append_new(lines, json_loads(line->json, 0, NULL));
        }
    }
    bool more = from < trace->next;
    (void)pthread_mutex_unlock(&trace->lock);
    return json_pack("{s:I,s:b,s:I,s:I,s:o}", "instance", (json_int_t)trace->instance, "more", more, "last",
                     (json_int_t)(from - 1), "dropped", (json_int_t)dropped, "lines", lines);
}
