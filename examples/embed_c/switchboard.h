/* A C ABI around switchboard's reactor: calls, timers, descriptors, other threads, one descriptor for
 * the host's own loop.
 *
 * Status: each function returns SB_OK, an SB_ code, or, if the system failed, its errno negated.
 *
 * Data: what a handler works on belongs to the call as soon as the function that takes it is called, even if
 * that fails. `drop`, which may be NULL, is called exactly once: after the handler has run for the last
 * time; when the call is canceled; or, if the function fails, before it returns.
 *
 * Handlers return SB_DONE, SB_AGAIN (a watch's only) or a negative number: they failed. A handler that
 * fails ends the turn: sb_turn returns SB_FAILED, all other calls stay pending in order, and the next turn
 * goes on with them. Handlers and drop functions must not throw, nor longjmp out of themselves.
 *
 * Threads: everything belongs to the thread that made the reactor, and returns SB_WRONG_THREAD on others,
 * but for sb_remote_call, sb_remote_free and sb_status_text. */
#ifndef SWITCHBOARD_H
#define SWITCHBOARD_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sb_reactor sb_reactor;
typedef struct sb_watch sb_watch;
typedef struct sb_remote sb_remote;

/* Names a call or timer of one reactor. Never used again. (A number that was not handed out may name another.) */
typedef uint64_t sb_id;

enum {
    SB_OK = 0,
    SB_FAILED = 1,       /* a handler returned a negative number */
    SB_PANICKED = 2,     /* the library has a bug, which was caught here; the reactor can go on */
    SB_NULL = 3,         /* an argument is NULL that must not be, or has no valid value */
    SB_WRONG_THREAD = 4, /* not the thread that made the reactor */
    SB_IN_TURN = 5,      /* a turn is in progress: a handler called this, which it must not */
    SB_CLOSED = 6,       /* the reactor is freed, or about to be */
    SB_LATE = 7          /* nothing to cancel: the call is live, over, or was canceled before */
};

enum { SB_DONE = 0, SB_AGAIN = 1 };

/* What a descriptor is watched for, and what it is ready for. */
enum { SB_READABLE = 1, SB_WRITABLE = 2, SB_READ_CLOSED = 4, SB_WRITE_CLOSED = 8, SB_ERROR = 16 };

typedef int32_t (*sb_handler)(void *data);
typedef int32_t (*sb_ready_handler)(void *data, uint32_t readiness);
typedef void (*sb_drop)(void *data);

typedef struct {
    uint64_t dialed, canceled, refused, remaining;
} sb_report;

/* English, static. */
const char *sb_status_text(int32_t status);

int32_t sb_reactor_new(sb_reactor **reactor);

/* Cancels all that is pending, which calls the drop functions. Watches and remotes are freed by themselves,
 * before or after. Not in a handler: SB_IN_TURN. A drop function that runs outside of turns may call this. NULL is
 * none. */
int32_t sb_reactor_free(sb_reactor *reactor);

/* Schedules a call. `id` may be NULL, here and below. */
int32_t sb_call(sb_reactor *reactor, sb_handler handler, void *data, sb_drop drop, sb_id *id);

/* Calls after a delay, not earlier. */
int32_t sb_after(sb_reactor *reactor, uint64_t nanoseconds, sb_handler handler, void *data, sb_drop drop,
                 sb_id *id);

/* Cancels a call or a timer: its handler does not run, its data is dropped before this returns. */
int32_t sb_cancel(sb_reactor *reactor, sb_id id);

/* Calls `handler` when the descriptor becomes ready (SB_READABLE, SB_WRITABLE or both). Readiness is
 * reported once, when it begins: the handler reads or writes until that would block, or returns SB_AGAIN to
 * be called again after others. One that fails is not called again for what it has left. The descriptor must not
 * block, and must stay open until the watch is freed. */
int32_t sb_watch_new(sb_reactor *reactor, int fd, uint32_t interest, sb_ready_handler handler, void *data,
                     sb_drop drop, sb_watch **watch);

/* Also in the handler itself, whose data is then dropped when it has returned. NULL is none. */
int32_t sb_watch_free(sb_watch *watch);

/* Polls without sleeping, then dials. `report` may be NULL; it is written if SB_OK is returned. */
int32_t sb_turn(sb_reactor *reactor, sb_report *report);

/* The same, dialing for as long as given. */
int32_t sb_turn_within(sb_reactor *reactor, uint64_t nanoseconds, sb_report *report);

/* The most calls of a turn. */
int32_t sb_set_budget(sb_reactor *reactor, uint64_t calls);

/* The descriptor to wait for in the host's loop: readable when there are events. */
int32_t sb_fd(sb_reactor *reactor, int *fd);

/* How long the host may sleep; -1: until the descriptor is readable. To be asked last, before the sleep. */
int32_t sb_poll_timeout(sb_reactor *reactor, int64_t *nanoseconds);

/* Has the descriptor be readable whenever a turn is due, so that no timeout is needed. It takes the wake hook. */
int32_t sb_signal_when_due(sb_reactor *reactor);

/* Calls `wake` when what sb_poll_timeout said is not true any more, outside of turns. It must not call
 * anything of this library. */
int32_t sb_set_wake_hook(sb_reactor *reactor, void (*wake)(void *data), void *data, sb_drop drop);

/* How many handlers have failed. */
int32_t sb_failed_count(sb_reactor *reactor, uint64_t *count);

/* For other threads. */
int32_t sb_remote_new(sb_reactor *reactor, sb_remote **remote);

/* Schedules a call, from any thread. The handler and `drop` run on the reactor's thread, but if this fails,
 * when `drop` has run on this one. */
int32_t sb_remote_call(sb_remote *remote, sb_handler handler, void *data, sb_drop drop);

/* On any thread; no other may use it any more. NULL is none. */
int32_t sb_remote_free(sb_remote *remote);

#ifdef __cplusplus
}
#endif
#endif
