/*
 * machine - the deterministic state machine of the metadata service over one ordered map.
 *
 * Applies commands (common/rpc/metadata_messages.h) in the order of the log and answers queries. Every
 * command is one kv batch that holds all its effects, the position of the log that it came from and a chain
 * hash over all batches so far: after a crash the map stands at a position between two commands, and the
 * log is replayed from there. What a command decides depends on the map and the command alone: no clock, no
 * randomness, no globals, so equal logs make equal maps (compare machine_chain()).
 * Bytes: docs/formats/metadata.md.  Version rules: S3-SURFACE 4.8, conditions 4.11.
 * Thread: machine_apply, _position, _chain and _close by one thread at a time; machine_query by any number
 * of threads at any time between open and close.
 * Memory: borrows the kv until machine_close(), which leaves it open.
 */
#ifndef METADATA_MACHINE_H
#define METADATA_MACHINE_H

#include "common/base/error.h"
#include "common/base/kv.h"
#include "common/rpc/metadata_messages.h"

#define MACHINE_CHAIN_BYTES 16
#define MACHINE_ARENA_BYTES (16u << 20) /* a decoded command may need this much; more is ERRC_LIMIT */

struct machine;

/*
 * Opens the state in kv; an empty map is a new state at position (0, 0).
 * Errors   FORMAT written by a newer program; CORRUPT; those of kv
 */
MUST_CHECK enum errc machine_open(struct kv *kv, struct machine **ret_machine, struct error *e);
void machine_close(struct machine *machine); /* NULL is fine */

/* Position of the last command applied: log index and the number of the command within that entry. */
void machine_position(const struct machine *machine, uint64_t *ret_index, uint32_t *ret_sub);
/* Truncated SHA-256 over the previous chain, the position, the bytes of the batch and the counters. Equal only
 * over equal implementations of kv: the bytes of a batch are its own. */
void machine_chain(const struct machine *machine, uint8_t ret_chain[MACHINE_CHAIN_BYTES]);

/*
 * Whether machine_apply() can decode `command`: ask before it enters the log, since what is in the log
 * and can't be decoded stops every voter.
 * Errors   FORMAT type or version not known; CORRUPT; LIMIT too large
 */
MUST_CHECK enum errc machine_check(struct slice command, struct error *e);

/*
 * Decides and applies one command.
 *
 * index, sub   its position; one at or before machine_position() is skipped: OK and nothing in ret_result
 * ret_result   an encoded struct meta_result is appended; its index is `index`, or that of the same request before
 * Errors       FORMAT a command type or version that this program doesn't know; CORRUPT; LIMIT; those of kv.
 *              Nothing is applied then, and the machine refuses all further commands: the voter must stop.
 */
MUST_CHECK enum errc machine_apply(struct machine *machine, uint64_t index, uint32_t sub, struct slice command,
                                   struct enc *ret_result, struct error *e);
/* Moves the position without a command: log entries that carry none (no-ops, configuration). */
MUST_CHECK enum errc machine_skip_to(struct machine *machine, uint64_t index, uint32_t sub, struct error *e);

/*
 * The state is an old one that becomes the newest again (voter_rebuild.h): position (index, 0), which is behind all that
 * the lost history can have come to. Sessions that are open are forgotten, not closed, so that nobody takes what they wrote
 * since for leftovers; ids of sessions and revisions of the map go on far above those that were given since.
 */
MUST_CHECK enum errc machine_rebuilt(struct machine *machine, uint64_t index, struct error *e);

/* Sessions that are open, ascending; borrowed until the next command. The applying thread. */
unsigned machine_open_sessions(const struct machine *machine, const uint64_t **ret_sessions);

/*
 * Answers one query from one state that existed between this call and its return.
 *
 * cached_only  WOULD_BLOCK instead of reading a disk; walks (lists) always answer WOULD_BLOCK then
 * ret_reply    the encoded reply message of the query's type is appended
 * Errors       WOULD_BLOCK; FORMAT query type not known; CORRUPT; LIMIT; those of kv
 */
MUST_CHECK enum errc machine_query(struct machine *machine, struct slice query, bool cached_only,
                                   struct enc *ret_reply, struct error *e);

#endif
