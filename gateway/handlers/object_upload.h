/*
 * object_upload - one object_writer in a request's hands: opened, finished, and kept or discarded by what
 * the commit said. Shared by PutObject, UploadPart and UploadPartCopy.
 *
 * Thread: the request's loop.  Memory: lives in the handler's state; drop it in the cleanup.
 */
#ifndef GATEWAY_HANDLERS_OBJECT_UPLOAD_H
#define GATEWAY_HANDLERS_OBJECT_UPLOAD_H

#include "gateway/handlers/handler_request.h"

struct object_upload {
    struct object_writer *writer; /* NULL before open and after keep or discard */
    const struct object_writer_result *result; /* after finish; the writer's memory */
    struct request *request;
    request_step *next;
    request_step *ready;          /* the writer takes more: of who pushes itself. NULL: the request's body does */
    struct slice rest;            /* of bytes in memory that the writer has not taken yet */
    struct slice footer;
};

/* For r->body.length bytes in the code that write_class_ask() has found. upload_id: NULL for an object; a part is never kept inline. */
void object_upload_open(struct request *r, struct object_upload *upload, const uint8_t *upload_id,
                        uint16_t part_number);
/* `record` (encoded at once) becomes the footer of the last extent; then `next`. */
void object_upload_finish(struct request *r, struct object_upload *upload, const struct meta_command *record,
                          request_step *next);
/* The same with the data in hand: `bytes` (all of them, borrowed until `next`) are pushed first. */
void object_upload_write(struct request *r, struct object_upload *upload, struct slice bytes,
                         const struct meta_command *record, request_step *next);
/* After finish: the data's part of the command. */
void object_upload_into(const struct object_upload *upload, struct meta_object_put *put);
void object_upload_into_part(const struct object_upload *upload, struct meta_upload_part *part);
/* After finish: true, and the request is answered, when the data could not be made durable. */
bool object_upload_failed(struct request *r, struct object_upload *upload);
/* The commit has been answered: keeps the extents if it was done or may have been, else discards them. */
void object_upload_settle(struct object_upload *upload, const struct request_call *commit);
/* Discards what is still open. */
void object_upload_drop(struct object_upload *upload);

#endif
