/* A host in C with an epoll loop of its own, in both ways: by descriptor and timeout, and by the one descriptor
 * that is readable whenever a turn is due. Tests itself. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "scenarios.h"
#include "switchboard.h"

typedef struct {
    sb_reactor *reactor;
    int epoll, own, by_timeout;
} epoll_loop;

static void add(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void *new_loop(sb_reactor *reactor, int own, int by_timeout) {
    epoll_loop *loop = malloc(sizeof *loop);
    int fd;
    *loop = (epoll_loop){reactor, epoll_create1(EPOLL_CLOEXEC), own, by_timeout};
    CHECK(sb_fd(reactor, &fd) == SB_OK);
    add(loop->epoll, fd);
    add(loop->epoll, own);
    if (!by_timeout)
        CHECK(sb_signal_when_due(reactor) == SB_OK);
    return loop;
}

static void *by_timeout(sb_reactor *reactor, int own) {
    return new_loop(reactor, own, 1);
}

static void *when_due(sb_reactor *reactor, int own) {
    return new_loop(reactor, own, 0);
}

/* Sleeps until something is ready or a turn is due: for milliseconds, rounded up. */
static int wait_for(const epoll_loop *loop, struct epoll_event *events, int room) {
    int64_t nanoseconds = -1;
    if (loop->by_timeout)
        CHECK(sb_poll_timeout(loop->reactor, &nanoseconds) == SB_OK);
    int64_t milliseconds = nanoseconds < 0 ? -1 : nanoseconds / 1000000 + (nanoseconds % 1000000 != 0);
    int timeout = milliseconds > 3600000 ? 3600000 : (int)milliseconds;
    scene_count_poll();
    int count = epoll_wait(loop->epoll, events, room, timeout);
    CHECK(count >= 0 || errno == EINTR);
    return count < 0 ? 0 : count;
}

static int32_t run(void *data) {
    epoll_loop *loop = data;
    for (;;) {
        struct epoll_event events[2];
        int count = wait_for(loop, events, 2), due = loop->by_timeout;
        for (int at = 0; at < count; at++) {
            if (events[at].data.fd != loop->own)
                due = 1;
            else if (scene_serve())
                return SB_OK;
        }
        int32_t status = due ? sb_turn(loop->reactor, NULL) : SB_OK;
        if (status != SB_OK)
            return status;
    }
}

static void free_loop(void *data) {
    epoll_loop *loop = data;
    close(loop->epoll);
    free(loop);
}

/* What must not be done is refused, and what is refused is dropped. */

static int dropped;

static void drop(void *data) {
    (void)data;
    dropped++;
}

static int32_t turn_within_itself(void *reactor) {
    CHECK(sb_turn(reactor, NULL) == SB_IN_TURN);
    CHECK(sb_turn_within(reactor, 1, NULL) == SB_IN_TURN);
    CHECK(sb_reactor_free(reactor) == SB_IN_TURN);
    return SB_DONE;
}

static void count_wakes(void *count) {
    ++*(int *)count;
}

static int32_t nothing(void *data) {
    (void)data;
    return SB_DONE;
}

static int32_t free_own(void *watch, uint32_t readiness) {
    (void)readiness;
    CHECK(sb_watch_free(*(sb_watch **)watch) == SB_OK);
    CHECK(dropped == 6); /* not before this returns */
    return SB_DONE;
}

static void call_at_the_end(void *reactor) {
    CHECK(sb_call(reactor, nothing, NULL, drop, NULL) == SB_CLOSED);
    CHECK(sb_after(reactor, 0, nothing, NULL, drop, NULL) == SB_CLOSED);
    CHECK(sb_turn(reactor, NULL) == SB_CLOSED);
    CHECK(sb_reactor_free(reactor) == SB_CLOSED);
}

static void misuse_is_refused(void) {
    sb_reactor *reactor;
    sb_watch *watch;
    sb_remote *remote;
    sb_id id;
    sb_report report;
    int fds[2];
    CHECK(sb_reactor_new(NULL) == SB_NULL);
    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_call(NULL, nothing, NULL, drop, NULL) == SB_NULL && dropped == 1);
    CHECK(sb_call(reactor, NULL, NULL, drop, NULL) == SB_NULL && dropped == 2);
    CHECK(sb_watch_new(reactor, -1, SB_READABLE, free_own, NULL, drop, &watch) == SB_NULL && dropped == 3);
    CHECK(sb_watch_new(reactor, 1000, SB_READABLE, free_own, NULL, drop, &watch) == -EBADF && dropped == 4);
    CHECK(sb_set_budget(reactor, 0) == SB_NULL);
    CHECK(sb_fd(reactor, NULL) == SB_NULL && sb_poll_timeout(reactor, NULL) == SB_NULL);
    CHECK(sb_failed_count(reactor, NULL) == SB_NULL);
    CHECK(sb_cancel(reactor, 12345) == SB_LATE && sb_cancel(reactor, UINT64_MAX) == SB_LATE);

    CHECK(sb_call(reactor, nothing, NULL, drop, &id) == SB_OK);
    CHECK(sb_call(reactor, turn_within_itself, reactor, NULL, NULL) == SB_OK);
    CHECK(sb_cancel(reactor, id) == SB_OK && dropped == 5);
    CHECK(sb_turn(reactor, &report) == SB_OK);
    CHECK(report.dialed == 1 && report.canceled == 1 && report.remaining == 0);
    CHECK(sb_call(reactor, nothing, NULL, drop, NULL) == SB_OK);
    CHECK(sb_turn_within(reactor, 1000000, &report) == SB_OK && report.dialed == 1 && dropped == 6);

    CHECK(pipe(fds) == 0);
    CHECK(sb_watch_new(reactor, fds[1], SB_WRITABLE, free_own, &watch, drop, &watch) == SB_OK);
    CHECK(sb_turn(reactor, NULL) == SB_OK && dropped == 7);
    close(fds[0]);
    close(fds[1]);

    CHECK(sb_remote_new(reactor, &remote) == SB_OK);
    CHECK(sb_call(reactor, nothing, reactor, call_at_the_end, NULL) == SB_OK);
    CHECK(sb_after(reactor, 1, nothing, NULL, drop, NULL) == SB_OK);
    CHECK(sb_reactor_free(reactor) == SB_OK && dropped == 10);
    CHECK(sb_remote_call(remote, nothing, NULL, drop) == SB_CLOSED && dropped == 11);
    CHECK(sb_remote_free(remote) == SB_OK);
    CHECK(!strcmp(sb_status_text(SB_LATE), "nothing to cancel: the call is live, over or canceled"));
    puts("misuse is refused");
}

static void the_wake_hook_is_called_outside_of_turns(void) {
    sb_reactor *reactor;
    int wakes = 0;
    dropped = 0;
    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_set_wake_hook(reactor, count_wakes, &wakes, drop) == SB_OK && wakes == 0);
    CHECK(sb_call(reactor, nothing, NULL, NULL, NULL) == SB_OK && wakes == 1);
    CHECK(sb_call(reactor, nothing, NULL, NULL, NULL) == SB_OK && wakes == 1);
    CHECK(sb_turn(reactor, NULL) == SB_OK && wakes == 1);
    CHECK(sb_after(reactor, 1, nothing, NULL, NULL, NULL) == SB_OK && wakes == 2);
    CHECK(dropped == 0 && sb_reactor_free(reactor) == SB_OK && dropped == 1);
    puts("the wake hook is called outside of turns");
}

static void no_wake(void *data) {
    (void)data;
}

static void free_reactor(void *reactor) {
    CHECK(sb_reactor_free(reactor) == SB_OK);
}

static int32_t never_ready(void *data, uint32_t readiness) {
    (void)data;
    (void)readiness;
    CHECK(!"never called");
    return SB_DONE;
}

/* As does that of an object which held the last reference to the reactor. */
static void a_drop_function_may_free_the_reactor(void) {
    sb_reactor *reactor;
    sb_watch *watch;
    sb_id id;
    int fds[2];
    dropped = 0;
    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_call(reactor, nothing, reactor, free_reactor, &id) == SB_OK);
    CHECK(sb_call(reactor, nothing, NULL, drop, NULL) == SB_OK);
    CHECK(sb_cancel(reactor, id) == SB_OK && dropped == 1);

    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_set_wake_hook(reactor, no_wake, reactor, free_reactor) == SB_OK);
    CHECK(sb_set_wake_hook(reactor, no_wake, NULL, drop) == SB_OK && dropped == 2);

    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_after(reactor, 1, NULL, reactor, free_reactor, &id) == SB_NULL);

    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_watch_new(reactor, -1, SB_READABLE, never_ready, reactor, free_reactor, &watch) == SB_NULL);

    CHECK(pipe(fds) == 0);
    CHECK(sb_reactor_new(&reactor) == SB_OK);
    CHECK(sb_watch_new(reactor, fds[0], SB_READABLE, never_ready, reactor, free_reactor, &watch) == SB_OK);
    CHECK(sb_watch_free(watch) == SB_OK);
    close(fds[0]);
    close(fds[1]);
    puts("a drop function may free the reactor");
}

int main(void) {
    misuse_is_refused();
    a_drop_function_may_free_the_reactor();
    the_wake_hook_is_called_outside_of_turns();
    run_scenarios(&(host){"epoll, by timeout", by_timeout, run, free_loop});
    run_scenarios(&(host){"epoll, by one descriptor", when_due, run, free_loop});
    return 0;
}
