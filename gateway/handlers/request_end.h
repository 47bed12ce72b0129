/*
 * request_end - how a request gets its answer and ceases to be (part of handler_request).
 */
#ifndef GATEWAY_HANDLERS_REQUEST_END_H
#define GATEWAY_HANDLERS_REQUEST_END_H

#include "gateway/handlers/handler_request.h"

/* The one mapping of outcomes of the metadata service to S3 codes; pure. */
enum s3_error outcome_to_s3(enum meta_outcome outcome);
/* The code of an inner layer (metadata client, writer, reader) as an S3 code; pure. Never a 404. */
enum s3_error inner_errc_to_s3(enum errc code);
/* Appends the error document. */
void error_document(struct enc *out, const struct s3_error_info *err, struct slice resource, const char *id,
                    const char *host_id);

#endif
