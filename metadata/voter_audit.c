/* The audit of what a voter has applied: it holds the store as a query does, so that it may move meanwhile. */
#include "metadata/machine_audit.h"
#include "metadata/voter_state.h"

enum errc voter_audit(struct voter *voter, const struct machine_audit *audit, struct audit_counts *ret_counts,
                      struct error *e)
{
    struct voter_store *store = voter_store_acquire(voter);
    if (store == NULL) {
        return error_set(e, ERRC_UNAVAILABLE, "this voter has no state to look at now");
    }
    enum errc rc = machine_audit(store->kv, audit, ret_counts, e);
    voter_store_release(store);
    return rc;
}
