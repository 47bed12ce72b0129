/*
 * admin_http - one signed request to an admin port, JSON in the answer (libcurl, jansson).
 */
#ifndef TOOLS_ADMIN_HTTP_H
#define TOOLS_ADMIN_HTTP_H

#include "common/base/codec.h"
#include "tools/admin_options.h"

#include <jansson.h>

/*
 * Asks the addresses in turn while one cannot be reached or says that it does not lead.
 *
 * target  path and query, already percent-encoded: "/admin/v1/status"
 * body    JSON text or NULL
 * Returns OK with *ret_json (gives: json_decref) for a 2xx answer. Otherwise an error whose text is the
 * server's message, or says why it could not be asked.
 */
MUST_CHECK enum errc admin_request(const struct admin_options *options, const char *method, const char *target,
                                   const char *body, json_t **ret_json, struct error *e);

/* Percent-encoded, for a target. Gives. */
char *admin_escape(const char *text);
/* GET of one path of the first address; the answer's bytes are appended. The same errors. */
MUST_CHECK enum errc admin_fetch(const struct admin_options *options, const char *target, struct enc *ret_answer,
                                 struct error *e);

#endif
