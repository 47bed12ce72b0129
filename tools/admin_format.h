/* admin_format - answers of the admin API as text for a person. Unknown or absent fields print as "-". */
#ifndef TOOLS_ADMIN_FORMAT_H
#define TOOLS_ADMIN_FORMAT_H

#include <jansson.h>

void format_status(const json_t *json);
void format_buckets(const json_t *json);
void format_disks(const json_t *json);
void format_replaced(const json_t *json);
void format_explain(const json_t *json);
void format_members(const json_t *json);
void format_node_state(const json_t *json);
void format_member(const json_t *json);
void format_token(const json_t *json);
void format_nodes(const json_t *json);

#endif
