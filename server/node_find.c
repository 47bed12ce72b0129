#include "server/node_find.h"

#include "common/base/role.h"
#include "server/server.h"

#include <string.h>

#define ID_TEXT_MIN 8

unsigned node_find(const struct meta_cluster_reply *map, const char *text, const struct meta_node **ret_node, struct error *e)
{
    unsigned count = 0;
    if (text == NULL) {
        return server_fail(e, 400, "name the node");
    }
    for (uint32_t i = 0; i < map->node_count; i++) {
        const struct meta_node *node = &map->nodes[i];
        char id[ID_HEX_BYTES];
        size_t len = strlen(text);
        id_hex(node->id.bytes, id);
        if (node->role == ROLE_STORAGE_NODE && node->state != META_NODE_REMOVED_FOR_EVER &&
            (slice_equal_str(node->name, text) || (len >= ID_TEXT_MIN && strncmp(id, text, len) == 0))) {
            *ret_node = node;
            count++;
        }
    }
    if (count == 1) {
        return 200;
    }
    (void)error_set(e, ERRC_NOT_FOUND, count == 0 ? "no storage node is called '%s': see 'cairn node list'"
                                                  : "several storage nodes are called '%s': name its id", text);
    return count == 0 ? 404 : 409;
}
