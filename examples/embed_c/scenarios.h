/* What every loop in C is put through, as examples/tests/embedding does with those in Rust. */
#ifndef SCENARIOS_H
#define SCENARIOS_H

#include "switchboard.h"

/* A host: a loop that waits for the reactor and for a descriptor of its own. */
typedef struct {
    const char *name;
    /* Makes the host's loop with both in it. */
    void *(*new_loop)(sb_reactor *reactor, int own);
    /* Runs it until scene_serve returns 1, which it asks whenever `own` is readable, or a turn fails. Returns the
     * status of the last turn. It calls scene_count_poll for each poll. */
    int32_t (*run)(void *loop);
    void (*free_loop)(void *loop);
} host;

int scene_serve(void);
void scene_count_poll(void);

/* Runs them all, and prints what held. Exits if something did not. */
void run_scenarios(const host *host);

/* Prints where, and exits, if it does not hold. In programs that test themselves, also without debugging. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
_Noreturn void check_failed(const char *condition, const char *file, int line);

#endif
