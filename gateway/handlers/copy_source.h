/*
 * copy_source - the object that CopyObject and UploadPartCopy copy from.
 *
 *   copy_source_read     header, conditions, version          (no wait)
 *   copy_source_ask      the record and the references of the range: ASKED -> MORE_ASKED ... -> next
 *   copy_source_hash     MD5 and one checksum over the range, read once: READING ... -> next
 *
 * Bytes are shared where they can be: what comes out is a list of references into the source's extents (or the
 * inline bytes). Where the copy is to be in another code than the source, the bytes that are read go to a writer too.
 * The session pins the state that was read until copy_source_done(); that the extents still exist is decided at commit.
 * Thread: the request's loop.  Memory: the request's scratch arena.
 */
#ifndef GATEWAY_HANDLERS_COPY_SOURCE_H
#define GATEWAY_HANDLERS_COPY_SOURCE_H

#include "gateway/handlers/handler_request.h"
#include "gateway/handlers/object_upload.h"
#include "gateway/data/object_reader.h"
#include "gateway/s3/s3_range.h"

#define COPY_BYTES_MAX (5ull << 30)

struct copy_source {
    struct s3_copy_source from;
    bool has_version;
    struct meta_version_ref version;
    struct s3_conditions conditions;
    bool has_range;               /* x-amz-copy-source-range */
    struct s3_range range;        /* after ask: what is copied */

    struct meta_object_reply reply; /* of the first answer: row, body, bucket */
    struct slice inline_bytes;    /* of the range; data pointer NULL: extents */
    struct meta_data_extent *extents; /* clipped to the range, in order */
    uint32_t extent_count, extent_capacity;
    struct extent_ref *refs;      /* the same as references */

    uint8_t md5[MD5_BYTES];       /* after hash */
    struct checksum_value checksum;

    request_step *next;
    struct session_read pin;
    bool pinned;
    struct object_reader *reader;
    struct digest md5_digest;
    struct checksum sum;
    uint64_t hashed_bytes;
    struct object_upload *upload; /* the bytes go there too; NULL: nowhere */
    struct slice held;            /* of the piece in hand: what the writer has not taken yet */
    struct buffer *held_buffer;
    unsigned restarts;            /* of the asking, after an overwrite in between */
};

/* with_range: UploadPartCopy. */
MUST_CHECK enum s3_error copy_source_read(struct request *r, struct copy_source *source, bool with_range);
/* Refusals (absent, marker, conditions, range, size) are answered in here; `next` runs otherwise. */
void copy_source_ask(struct request *r, struct copy_source *source, request_step *next);
/* Can the copy be made of references into the source's extents? (write_class.h; inline bytes always can.) */
bool copy_source_shareable(const struct request *r, const struct copy_source *source);
/*
 * r->state must be a struct that begins with the copy_source. Unreadable data are answered in here.
 * `upload`, if not NULL, is opened here, for an object or (upload_id not NULL) for a part, and has got all bytes when `next` runs:
 * what is left is object_upload_finish().
 */
void copy_source_hash(struct request *r, struct copy_source *source, enum checksum_kind kind, request_step *next);
void copy_source_rewrite(struct request *r, struct copy_source *source, enum checksum_kind kind, struct object_upload *upload,
                         const uint8_t *upload_id, uint16_t part_number, request_step *next);
void copy_source_done(struct request *r, struct copy_source *source);
/* x-amz-copy-source-version-id, where the source's bucket has ever had versioning. */
void copy_source_header(struct request *r, const struct copy_source *source);

#endif
