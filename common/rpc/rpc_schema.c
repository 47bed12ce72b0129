#include "common/rpc/rpc_schema.h"

const char *rpc_method_name(unsigned method)
{
    switch (method) {
#define X(name, number)                                                        \
    case RPC_##name:                                                           \
        return #name;
        RPC_METHODS(X)
#undef X
    default:
        return "UNKNOWN";
    }
}
