/*
 * upload_body - the body of a request on its way in: decode, hash, compare, hand on.
 *
 *   http pieces -> aws-chunked decoder (where the mode says so) -> length, MD5, SHA-256, checksum
 *               -> object_writer with backpressure, or a bounded document in memory
 *
 *   upload_body_prepare   checks what the head says, before a byte is read (so before 100 Continue)
 *   upload_body_run       reads to the end, then `next`; r->err is set when the body was refused
 *
 * Everything that can be compared is compared before `next` runs without an error: length, Content-MD5,
 * x-amz-content-sha256, chunk signatures, checksum header or trailer. Nothing may be committed otherwise.
 * Thread: the request's loop; hashing runs inline on it.
 * Memory: no copy besides the writer's; pieces are borrowed from the connection.
 */
#ifndef GATEWAY_HANDLERS_UPLOAD_BODY_H
#define GATEWAY_HANDLERS_UPLOAD_BODY_H

#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "common/base/digest.h"
#include "common/base/env.h"
#include "gateway/auth/auth_chunked.h"
#include "gateway/data/object_writer.h"
#include "gateway/http/http_request.h"
#include "gateway/s3/s3_headers.h"

struct request;

struct upload_body {
    /* after prepare */
    uint64_t length;                    /* decoded; for documents of unknown length: the limit */
    bool length_known;
    bool is_document;                   /* collected in memory */
    bool has_md5;
    bool has_body;
    uint8_t wanted_md5[MD5_BYTES];
    struct s3_checksum_request wanted;
    enum checksum_kind kind;            /* computed while the body runs; NONE for documents without one */
    enum checksum_kind also_kind;       /* set by the handler before run: computed besides `kind`; NONE: no */

    /* after run without an error */
    uint64_t seen_bytes;
    uint8_t md5[MD5_BYTES];
    struct checksum_value checksum;     /* kind NONE when none was computed */
    struct checksum_value also;         /* kind NONE when `also_kind` was NONE or equal to `kind` */
    struct slice document;              /* is_document: the bytes, until the request ends */

    /* its own */
    struct object_writer *writer;       /* the handler's, NULL for documents */
    struct enc collected;
    struct digest md5_digest, sha_digest;
    bool hashes_sha;
    struct checksum sum, also_sum;
    struct auth_chunked chunked;
    bool is_chunked;
    struct slice input;                 /* rest of the current piece, still encoded */
    struct slice payload;               /* decoded and hashed, not yet taken by the writer */
    bool at_end;                        /* the current piece was the last */
    bool waiting;                       /* for the writer's on_ready */
    void (*next)(struct request *r);
};

/* An object or part of at most `bytes_max` bytes. kind_default: what to compute when the client declares none.
 * Errors: MissingContentLength, EntityTooLarge, InvalidDigest, and those of s3_checksum_request_read(). */
MUST_CHECK enum s3_error upload_body_prepare(struct request *r, uint64_t bytes_max, enum checksum_kind kind_default);
/* A document of at most `bytes_max` bytes. Also MaxMessageLengthExceeded; InvalidRequest where
 * `needs_integrity` and neither Content-MD5 nor a checksum is there. */
MUST_CHECK enum s3_error upload_body_prepare_document(struct request *r, uint64_t bytes_max, bool needs_integrity);
/* writer: exactly `length` bytes are pushed unless an error ends it; on_ready of the writer must be
 * upload_body_writer_ready with the request as data. */
void upload_body_run(struct request *r, struct object_writer *writer, void (*next)(struct request *r));
void upload_body_writer_ready(void *data);
void upload_body_done(struct upload_body *body);

#endif
