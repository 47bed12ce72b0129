/* admin_format - answers of the admin API as text for a person. Unknown or absent fields print as "-". */
#ifndef TOOLS_ADMIN_FORMAT_H
#define TOOLS_ADMIN_FORMAT_H

#include <jansson.h>

#define FORMAT_AMOUNT_BYTES 32
/* 1536 -> "1.5 KiB"; returns text. */
const char *format_bytes(long long bytes, char text[FORMAT_AMOUNT_BYTES]);
/* Seconds as "2 h 5 min", "-" when unknown (negative); returns text. */
const char *format_duration(long long seconds, char text[FORMAT_AMOUNT_BYTES]);
/* A member of an answer; 0 where it is absent or null. */
long long format_number(const json_t *json, const char *name);
void format_status(const json_t *json);
/* What a change would do: `eta_seconds` and `failure_domains` of a --dry-run; nothing where there are none. */
void format_forecast(const json_t *json);
void format_buckets(const json_t *json);
void format_disks(const json_t *json);
void format_explain(const json_t *json);
void format_members(const json_t *json);
void format_node_state(const json_t *json);
void format_member(const json_t *json);
void format_token(const json_t *json);
void format_nodes(const json_t *json);

#endif
