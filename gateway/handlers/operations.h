/*
 * operations - the first state of every handler of this folder; see the file of the same name for each.
 */
#ifndef GATEWAY_HANDLERS_OPERATIONS_H
#define GATEWAY_HANDLERS_OPERATIONS_H

#include "gateway/handlers/handler_request.h"

request_step bucket_list;        /* bucket_list.c */
request_step bucket_create;      /* bucket_create.c */
request_step bucket_head;        /* bucket_head.c: HeadBucket, GetBucketLocation, GetBucketVersioning */
request_step bucket_location;
request_step bucket_versioning;
request_step bucket_delete;      /* bucket_delete.c */
request_step objects_list;       /* objects_list.c: v1 and v2 */
request_step versions_list;      /* versions_list.c */
request_step object_put;         /* object_put.c */
request_step object_get;         /* object_get.c: GET and HEAD */
request_step object_delete;      /* object_delete.c */
request_step objects_delete;     /* objects_delete.c */
request_step object_copy;        /* object_copy.c */
request_step upload_create;      /* upload_create.c */
request_step upload_part;        /* upload_part.c */
request_step upload_part_copy;   /* upload_part_copy.c */
request_step upload_complete;    /* upload_complete.c */
request_step upload_abort;       /* upload_abort.c */
request_step upload_parts_list;  /* upload_parts_list.c: ListParts */
request_step uploads_list;       /* uploads_list.c: ListMultipartUploads */

#endif
