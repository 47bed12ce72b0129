/* json_set - members of the admin API's answers. */
#ifndef SERVER_JSON_SET_H
#define SERVER_JSON_SET_H

#include "common/base/id.h"

#include <jansson.h>

void json_number_set(json_t *json, const char *name, uint64_t value);
/* How long `amount` takes at that rate, in seconds; null: nobody knows. Gives. */
json_t *json_eta(uint64_t amount, double per_second);
/* As 32 hexadecimal digits. */
void json_id_set(json_t *json, const char *name, const uint8_t bytes[ID_BYTES]);

#endif
