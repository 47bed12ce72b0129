#include "server/json_set.h"

void json_number_set(json_t *json, const char *name, uint64_t value)
{
    (void)json_object_set_new(json, name, json_integer((json_int_t)value));
}

json_t *json_eta(uint64_t amount, double per_second)
{
    if (amount == 0) {
        return json_integer(0);
    }
    return per_second > 0 ? json_integer((json_int_t)((double)amount / per_second) + 1) : json_null();
}

void json_id_set(json_t *json, const char *name, const uint8_t bytes[ID_BYTES])
{
    char id[ID_HEX_BYTES];
    id_hex(bytes, id);
    (void)json_object_set_new(json, name, json_string(id));
}
