#include "server/json_set.h"

void json_number_set(json_t *json, const char *name, uint64_t value)
{
    (void)json_object_set_new(json, name, json_integer((json_int_t)value));
}

void json_id_set(json_t *json, const char *name, const uint8_t bytes[ID_BYTES])
{
    char id[ID_HEX_BYTES];
    id_hex(bytes, id);
    (void)json_object_set_new(json, name, json_string(id));
}
