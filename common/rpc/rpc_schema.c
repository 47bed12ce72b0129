#include "common/rpc/rpc_schema.h"

#include <stddef.h>

const struct rpc_method_info *rpc_method_find(unsigned method)
{
    switch (method) {
#define X(name_, number_, roles_, retry_, lane_)                                                          \
    case number_: {                                                                                       \
        static const struct rpc_method_info info = { #name_, number_, roles_, RPC_RETRY_##retry_,         \
                                                     RPC_LANE_##lane_ };                                  \
        return &info;                                                                                     \
    }
        RPC_METHODS(X)
#undef X
    default:
        return NULL;
    }
}

const char *rpc_method_name(unsigned method)
{
    const struct rpc_method_info *info = rpc_method_find(method);
    return info != NULL ? info->name : "UNKNOWN";
}
