#include "common/base/id.h"

#include "common/base/hex.h"

void id_hex(const uint8_t bytes[ID_BYTES], char text[ID_HEX_BYTES])
{
    hex_encode(bytes, ID_BYTES, text);
}

bool id_from_hex(const char *text, size_t len, uint8_t ret_bytes[ID_BYTES])
{
    return len == 2 * ID_BYTES && hex_decode(text, len, ret_bytes);
}
