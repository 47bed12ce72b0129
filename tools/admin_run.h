/*
 * admin_run - what admin verbs share: their common options' help, how they fail, a request whose answer is printed.
 */
#ifndef TOOLS_ADMIN_RUN_H
#define TOOLS_ADMIN_RUN_H

#include "tools/admin_http.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

extern const char admin_common_help[];

/* Each prints to standard error and returns the exit status. */
int admin_fail(const struct error *e);
int admin_usage_fail(const char *text);
int admin_keys_check(const struct admin_options *options); /* 0: there are keys */
/* Prints the answer by `format`, or as JSON; takes the reference. Returns 0. */
int admin_answer_print(const struct admin_options *options, json_t *json, void (*format)(const json_t *json));
/* Asks, prints, returns the exit status. */
int admin_request_print(const struct admin_options *options, const char *method, const char *target, const char *body,
                        void (*format)(const json_t *json));

#endif
