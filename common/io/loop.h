/*
 * loop - one event loop of libuv with a thread of its own, and a serial executor on top of it.
 *
 * Tasks posted from the loop's own thread cost no system call; a burst of posts from other threads
 * costs one wake-up. Tasks run in the order of posting, between rounds of socket events.
 * Thread: loop_create, loop_start, loop_stop and loop_destroy belong to the owner; loop_executor's
 * post is safe from anywhere; loop_uv() may be used on the loop's thread only (or before it runs).
 * Memory: gives; free with loop_destroy after the loop has stopped.
 */
#ifndef COMMON_IO_LOOP_H
#define COMMON_IO_LOOP_H

#include "common/base/env.h"
#include "common/base/error.h"

#include <stdbool.h>

struct loop;
struct uv_loop_s;

/* Nothing runs yet. The name (at most 15 characters) shows in ps and gdb. */
MUST_CHECK enum errc loop_create(struct env *env, const char *name, struct loop **ret_loop, struct error *e);

/* Timers of this executor are libuv's, in its thread. Its destroy entry is loop_destroy. */
struct executor *loop_executor(struct loop *loop);
struct uv_loop_s *loop_uv(struct loop *loop);
/* True on the thread that runs the loop. */
bool loop_is_current(const struct loop *loop);

/* Runs the loop in a new thread. */
MUST_CHECK enum errc loop_start(struct loop *loop, struct error *e);
/* Runs the loop in the calling thread until loop_stop. */
void loop_run(struct loop *loop);

/* Ends the run after the tasks posted so far; safe from any thread; does not wait. */
void loop_stop(struct loop *loop);
/* Stops, joins the thread, runs tasks that are still queued, closes every handle that is left (their
 * close callbacks run, and handles that others left open are only closed), frees. Not from the
 * loop's own thread. */
void loop_destroy(struct loop *loop);

#endif
