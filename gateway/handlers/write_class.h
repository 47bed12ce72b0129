/*
 * write_class - the code that a request's data are written in: its storage class's, where the operator has given that one a code of its
 * own (`cairn class`), or else its bucket's.
 *
 * The list is asked for with each request that names such a class: metadata answer from memory, and a gateway never goes by an old list.
 * Thread: the request's loop.
 */
#ifndef GATEWAY_HANDLERS_WRITE_CLASS_H
#define GATEWAY_HANDLERS_WRITE_CLASS_H

#include "gateway/handlers/handler_request.h"

/*
 * Sets r->class_k and r->class_m, then runs `next`. `name` empty: the bucket's. It must live until `next`.
 * must_exist: a name that neither S3 nor the list knows is answered with InvalidStorageClass, and `next` does not run; otherwise (the
 * class of an upload that was begun earlier) it stands for the bucket's code.
 */
void write_class_ask(struct request *r, struct slice name, bool must_exist, request_step *next);
/* Are these extents in the code that the request's data are to be in, so that a copy may share them? */
bool write_class_fits(const struct request *r, const struct meta_data_extent *extents, uint32_t count);

#endif
