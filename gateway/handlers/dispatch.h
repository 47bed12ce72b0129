/*
 * dispatch - the front door: ids, parse, route, authenticate, bucket check, handler.
 *
 * The order of checks is S3-SURFACE 1.10. Every request, also one for an operation that does not exist
 * here, is authenticated before anything is said about it.
 * Thread: the request's loop.
 */
#ifndef GATEWAY_HANDLERS_DISPATCH_H
#define GATEWAY_HANDLERS_DISPATCH_H

#include "gateway/http/http_request.h"

/* Entries of struct http_handler; data is the gateway. */
void dispatch_request(void *data, struct http_request *http);
void dispatch_bad_request(void *data, enum http_bad_kind kind, const char *peer, struct arena *arena,
                          struct http_bad_reply *reply);

#endif
