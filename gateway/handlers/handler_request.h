/*
 * handler_request - one S3 request on its way through a handler: state, memory, and the ways to answer.
 *
 * A handler is a chain of functions, one for each state; each file draws its chain. A state function
 * runs to completion on the request's loop and ends in exactly one of:
 *   request_query / request_propose   suspend until metadata answers, then `next` runs
 *   upload_body_run                   suspend until the body is in, then `next` runs
 *   a pause of its own with request_hold() ... request_resume()
 *   request_reply* / request_fail*    the answer; the request is over
 *
 * When the client leaves while something is pending, `next` still runs (with request_gone() true where
 * it matters): a commit that is under way is waited for, so that its extents are kept or freed rightly.
 *
 * Thread: the request's loop.
 * Memory: `arena` (HTTP's, 256 KiB) for what is small; `scratch` (bounded by REQUEST_SCRATCH_BYTES) for
 * documents, listings and decoded answers. Both end with the request.
 */
#ifndef GATEWAY_HANDLERS_HANDLER_REQUEST_H
#define GATEWAY_HANDLERS_HANDLER_REQUEST_H

#include "gateway/handlers/handlers.h"
#include "gateway/handlers/upload_body.h"
#include "gateway/handlers/version_id.h"
#include "gateway/s3/s3_condition.h"
#include "gateway/s3/s3_headers.h"
#include "gateway/s3/s3_result.h"

#include "common/base/block_cipher.h"
#include "common/base/list.h"

#define REQUEST_SCRATCH_BYTES (48u << 20) /* a Complete of 10,000 parts: body 4 MiB and some structs for each part */
#define REQUEST_ID_BYTES 16
#define REQUEST_HOST_ID_BYTES 64

struct request;
typedef void request_step(struct request *r);

/* A metadata call of a request; lives in its scratch arena, released with it. */
struct request_call {
    struct meta_op op;
    struct request *request;
    request_step *next;
    struct request_call *older;
    bool pending;
};

struct request {
    struct gateway *gateway;
    struct http_request *http;
    struct arena *arena;
    struct arena scratch;
    struct executor *executor;

    struct s3_request s3;
    struct auth_result auth;
    struct s3_error_info err;      /* set by whoever refuses; request_fail() sends it */
    const char *cause;             /* in scratch: what the inside said of a failure, for the log; NULL: nothing */
    uint64_t wall_ms;              /* one time for the whole request */
    char id[REQUEST_ID_BYTES + 1];
    char host_id[REQUEST_HOST_ID_BYTES + 1];

    struct meta_bucket bucket;     /* after the bucket check, where the operation wants it */
    struct s3_owner owner;         /* of everything here */

    uint8_t class_k, class_m;      /* code of what is written: write_class_ask() sets it */
    struct slice class_name;       /* write_class's own, with the two below */
    bool class_must_exist;
    request_step *class_next;

    struct request_call *calls;    /* newest first */
    unsigned pending;              /* calls and holds: the request lives while any is out */
    bool replied;                  /* the answer is on its way, or the request was cut */
    bool gone;                     /* the client left */
    bool cut;

    struct http_header *headers;   /* of the answer */
    size_t header_count, header_capacity;
    struct enc out;                /* the document being built */

    struct upload_body body;
    void *state;                   /* the handler's own */
    void (*cleanup)(struct request *r); /* runs once at the end, may be NULL: frees what `state` holds */

    unsigned status;
};

/* What an operation needs, and where it starts. */
struct handler {
    enum s3_operation operation;
    request_step *start;
    bool wants_bucket;             /* look the bucket up first; r->bucket is then filled */
    bool takes_body;               /* else a body is UnexpectedContent */
};
/* NULL: no handler, 501. */
const struct handler *handler_find(enum s3_operation operation);

/* ---- life ---- */

void request_hold(struct request *r);   /* something will call back */
void request_resume(struct request *r); /* it has called: first thing in the callback */
static inline bool request_gone(const struct request *r)
{
    return r->gone;
}
/* Zeroed memory of the scratch arena; bounded by the callers, so that it never fails. */
void *request_zalloc(struct request *r, size_t bytes);
/* For sizes that the client decides: NULL when the arena is full. */
void *request_try_zalloc(struct request *r, size_t bytes);

/* ---- metadata ---- */

/* `next` runs later with the answer in the returned call (also r->calls). The message is encoded before this
 * returns. A status other than OK reaches `next` too: request_call_failed() answers it. */
struct request_call *request_query(struct request *r, const struct meta_query *query, request_step *next);
struct request_call *request_propose(struct request *r, const struct meta_command *command, request_step *next);
/* True, and the request is answered, when the call's status is not OK. */
bool request_call_failed(struct request *r, const struct request_call *call);
/* Gives back the newest call's memory of the reply (loops over many calls). */
void request_call_release(struct request *r, struct request_call *call);

/* ---- the answer ---- */

/* Static name; the value is copied. Bytes that would break a header make it a no-op (returns false). */
bool request_header(struct request *r, const char *name, struct slice value);
/* The same for a name that is not static: it must live as long as the request, and is checked as the value is. */
bool request_header_named(struct request *r, struct slice name, struct slice value);
void request_header_str(struct request *r, const char *name, const char *value);
void request_header_u64(struct request *r, const char *name, uint64_t value);
void request_header_etag(struct request *r, struct slice bare_etag);
void request_header_time(struct request *r, const char *name, uint64_t wall_ms);
void request_header_version(struct request *r, const char *name, uint64_t seq, uint64_t nonce, bool null_version);
void request_header_checksum(struct request *r, const struct checksum_value *value); /* nothing for NONE */

void request_reply_empty(struct request *r, unsigned status);
/* r->out as application/xml. */
void request_reply_xml(struct request *r, unsigned status);
/* A head whose body the handler writes itself with http_body_write; end with request_finish(). */
void request_reply_start(struct request *r, unsigned status, uint64_t content_length);
void request_finish(struct request *r); /* ends the body and the request */
void request_cut(struct request *r);    /* after request_reply_start: the stream can't be finished */

/* Why the inside failed, for the log (copied; the first one is kept). */
void request_cause(struct request *r, const char *cause);
void request_cause_errc(struct request *r, enum errc code, const struct error *story);
void request_cause_outcome(struct request *r, enum meta_outcome outcome); /* nothing for what is the client's */

/* Sends r->err (which must be set). */
void request_fail(struct request *r);
/* Sets r->err and sends it. */
void request_fail_with(struct request *r, enum s3_error code, const char *message);
/* The code of an inner layer; `what` (static) is the message of a 503. */
void request_fail_errc(struct request *r, enum errc code, const struct error *story);
/* An outcome other than META_OK. */
void request_fail_outcome(struct request *r, enum meta_outcome outcome);

/* The public version id of a row, as text of the scratch arena. */
struct slice request_version_text(struct request *r, const struct meta_row *row);
void checksum_from_meta(const struct meta_checksum *in, struct checksum_value *ret);
/* `ret` borrows the bytes of `in`. */
struct meta_checksum checksum_to_meta(const struct checksum_value *in);
enum checksum_type checksum_type_from_meta(uint8_t algorithm, uint8_t type);

/* The gateway's, for handlers. */
const struct gateway_config *request_config(const struct request *r);
const struct block_cipher *request_cipher(const struct request *r);
struct data_store *request_store(const struct request *r);

#endif
