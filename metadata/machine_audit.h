/*
 * machine_audit - proves that the counters, references and indexes of the state machine's map are what its rows say.
 *
 * Reads the whole map in one consistent view (kv iterator) while commands go on: what it finds is so, and was so at one
 * position of the log. Checked:
 *   counters   of each bucket (objects, bytes, versions, uploads) and of the whole state, against the rows
 *   extents    references recorded against those that versions, parts and the gc queue hold; the indexes by group, of
 *              repair and of gc against the records
 *   manifests  each is named by exactly one part, version or gc item, and each name has its manifest
 *   versions   one body for each that is no delete marker, and no other
 * Cost: about five reads of the index rows; memory for AUDIT_WINDOW extents at a time (larger states: more rounds).
 */
#ifndef METADATA_MACHINE_AUDIT_H
#define METADATA_MACHINE_AUDIT_H

#include "common/base/error.h"
#include "common/base/kv.h"

#include <stdatomic.h>
#include <stdint.h>

#define AUDIT_WINDOW (1u << 21)
#define AUDIT_TEXT_BYTES 384

struct audit_counts {
    uint64_t index;              /* position of the log that was looked at */
    uint64_t rows;               /* read, repeated rounds included */
    uint64_t buckets, versions, extents, references, manifests, gc_items;
};

struct machine_audit {
    const atomic_bool *cancel;   /* may be NULL; set: ends with CANCELED */
    _Atomic uint64_t *done_rows; /* for a progress bar; may be NULL */
    _Atomic uint64_t *total_rows;/* likewise: estimated */
    /* kind: one of "counter_wrong", "reference_wrong", "reference_dangling", "index_wrong", "manifest_wrong",
     * "version_wrong", "row_orphan"; text: which row, what it says, what it should say. */
    void (*found)(void *data, const char *kind, const char *text);
    void *data;
    uint32_t window;             /* extents or manifests in memory at once; 0: AUDIT_WINDOW */
};

/* kv is a state machine's map. Errors: CORRUPT a row can't be read; CANCELED; those of kv. */
MUST_CHECK enum errc machine_audit(struct kv *kv, const struct machine_audit *audit, struct audit_counts *ret_counts,
                                   struct error *e);

#endif
