/* A reactor as a source of GLib's main loop. Tests itself. */

#include <glib-unix.h>
#include <glib.h>
#include <stdio.h>

#include "scenarios.h"
#include "switchboard.h"

/* The source: the part to copy. It does not own the reactor. */

typedef struct {
    GSource source;
    sb_reactor *reactor;
    gpointer descriptor;
    int32_t status; /* of the last turn */
} reactor_source;

/* Milliseconds until a turn is due, rounded up; -1: none is. */
static gint due_in(const reactor_source *source) {
    int64_t nanoseconds = -1;
    if (sb_poll_timeout(source->reactor, &nanoseconds) != SB_OK || nanoseconds < 0)
        return -1;
    return (gint)MIN(nanoseconds / 1000000 + (nanoseconds % 1000000 != 0), G_MAXINT);
}

static gboolean prepare(GSource *base, gint *timeout) {
    *timeout = due_in((reactor_source *)base);
    return *timeout == 0;
}

static gboolean check(GSource *base) {
    reactor_source *source = (reactor_source *)base;
    return g_source_query_unix_fd(base, source->descriptor) != 0 || due_in(source) == 0;
}

/* Goes on after a handler that failed; calls `callback` when the loop should know of that. */
static gboolean dispatch(GSource *base, GSourceFunc callback, gpointer data) {
    reactor_source *source = (reactor_source *)base;
    source->status = sb_turn(source->reactor, NULL);
    return source->status == SB_OK || !callback ? G_SOURCE_CONTINUE : callback(data);
}

static GSourceFuncs functions = {.prepare = prepare, .check = check, .dispatch = dispatch};

/* Other sources may schedule calls after `prepare` of this one. */
static void wake(void *context) {
    g_main_context_wakeup(context);
}

static void unref_context(void *context) {
    g_main_context_unref(context);
}

static GSource *reactor_source_new(sb_reactor *reactor, GMainContext *context) {
    GSource *base = g_source_new(&functions, sizeof(reactor_source));
    reactor_source *source = (reactor_source *)base;
    int fd;
    CHECK(sb_fd(reactor, &fd) == SB_OK);
    source->reactor = reactor;
    source->descriptor = g_source_add_unix_fd(base, fd, G_IO_IN);
    source->status = SB_OK;
    CHECK(sb_set_wake_hook(reactor, wake, g_main_context_ref(context), unref_context) == SB_OK);
    g_source_attach(base, context);
    return base;
}

/* The host. */

typedef struct {
    GMainContext *context;
    GMainLoop *loop;
    GSource *reactor, *own;
} glib_host;

static gboolean on_own(gint fd, GIOCondition condition, gpointer host) {
    (void)fd;
    (void)condition;
    if (scene_serve())
        g_main_loop_quit(((glib_host *)host)->loop);
    return G_SOURCE_CONTINUE;
}

static gboolean on_failure(gpointer host) {
    g_main_loop_quit(((glib_host *)host)->loop);
    return G_SOURCE_CONTINUE;
}

static gint counting_poll(GPollFD *fds, guint count, gint timeout) {
    scene_count_poll();
    return g_poll(fds, count, timeout);
}

static void *new_host(sb_reactor *reactor, int own) {
    glib_host *host = g_new0(glib_host, 1);
    host->context = g_main_context_new();
    g_main_context_set_poll_func(host->context, counting_poll);
    host->loop = g_main_loop_new(host->context, FALSE);
    host->reactor = reactor_source_new(reactor, host->context);
    g_source_set_callback(host->reactor, on_failure, host, NULL);
    host->own = g_unix_fd_source_new(own, G_IO_IN);
    g_source_set_callback(host->own, G_SOURCE_FUNC(on_own), host, NULL);
    /* A source that is not blocked while it is dispatched; GLib polls twice after the others. */
    g_source_set_can_recurse(host->own, TRUE);
    g_source_attach(host->own, host->context);
    return host;
}

static int32_t run(void *data) {
    glib_host *host = data;
    reactor_source *source = (reactor_source *)host->reactor;
    source->status = SB_OK;
    g_main_loop_run(host->loop);
    return source->status;
}

static void free_host(void *data) {
    glib_host *host = data;
    g_source_destroy(host->reactor);
    g_source_unref(host->reactor);
    g_source_destroy(host->own);
    g_source_unref(host->own);
    g_main_loop_unref(host->loop);
    g_main_context_unref(host->context);
    g_free(host);
}

/* Main loops within main loops: of a handler, where the reactor waits, and of the host, where it goes on. */

typedef struct {
    sb_reactor *reactor;
    GMainContext *context;
    int called, nested;
} modal;

static int32_t count_call(void *data) {
    ((modal *)data)->called++;
    return SB_DONE;
}

static int32_t iterate_within(void *data) {
    modal *modal = data;
    CHECK(sb_call(modal->reactor, count_call, modal, NULL, NULL) == SB_OK);
    /* Neither turns nor spins: GLib leaves the reactor out. */
    for (int at = 0; at < 10; at++)
        CHECK(!g_main_context_iteration(modal->context, FALSE));
    CHECK(sb_turn(modal->reactor, NULL) == SB_IN_TURN);
    CHECK(modal->called == 0);
    modal->nested = 1;
    return SB_DONE;
}

static gboolean iterate_outside(gpointer data) {
    modal *modal = data;
    CHECK(sb_call(modal->reactor, count_call, modal, NULL, NULL) == SB_OK);
    while (modal->called < 2)
        g_main_context_iteration(modal->context, TRUE);
    modal->nested = 2;
    return G_SOURCE_REMOVE;
}

static void nested_loops(void) {
    modal modal = {.context = g_main_context_new()};
    CHECK(sb_reactor_new(&modal.reactor) == SB_OK);
    GSource *source = reactor_source_new(modal.reactor, modal.context);
    CHECK(sb_call(modal.reactor, iterate_within, &modal, NULL, NULL) == SB_OK);
    while (modal.called < 1)
        g_main_context_iteration(modal.context, TRUE);
    CHECK(modal.nested == 1);

    GSource *idle = g_idle_source_new();
    g_source_set_callback(idle, iterate_outside, &modal, NULL);
    g_source_attach(idle, modal.context);
    while (modal.nested < 2)
        g_main_context_iteration(modal.context, TRUE);
    g_source_unref(idle);
    g_source_destroy(source);
    g_source_unref(source);
    CHECK(sb_reactor_free(modal.reactor) == SB_OK);
    g_main_context_unref(modal.context);
    puts("GLib: nested loops: a handler's leaves the reactor out, the host's turns it");
}

int main(void) {
    nested_loops();
    run_scenarios(&(host){"GLib", new_host, run, free_host});
    return 0;
}
