/*
 * s3_router - method, resource, query and headers to one operation.
 *
 * Strict: a query name that is a subresource anywhere in S3 never falls through to a plain
 * operation (PUT ?acl is never PutObject, DELETE ?tagging never DeleteObject). Two subresources are
 * InvalidArgument, a subresource under a method it does not have is MethodNotAllowed, a known
 * operation without a handler is NotImplemented. Other query names are ignored.
 */
#ifndef GATEWAY_S3_ROUTER_H
#define GATEWAY_S3_ROUTER_H

#include "gateway/s3/s3_request.h"

/* request: method, bucket, key, params and headers are set. Sets request->operation (also on
 * NotImplemented). Called by s3_request_parse(). */
MUST_CHECK enum s3_error s3_route(struct s3_request *request, struct s3_error_info *err);

#endif
