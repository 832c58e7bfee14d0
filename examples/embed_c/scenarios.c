#define _GNU_SOURCE
#include "scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How often each thing is done. */
#define ROUNDS 10
#define MILLISECOND UINT64_C(1000000)
#define HOUR (3600 * 1000 * MILLISECOND)

/* Seconds that a scenario may take before its loop has slept with something to do. */
#define PATIENCE 60

static const char *running;

_Noreturn void check_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s: FAILED at %s:%d: %s\n", running ? running : "", file, line, condition);
    exit(1);
}

/* The scene: what the scenario and the host's loop share. */

static struct {
    sb_reactor *reactor;
    const host *host;
    void *loop;
    int own, peer; /* the host's own source, and what makes it readable */
    void (*on_own)(void);
    int over;
    unsigned polls;
    unsigned dropped; /* data that drop functions got */
    unsigned expected_drops;
    sb_watch *idle;
    int idle_fds[2];
    /* The scenario's. */
    unsigned round, count, order[2 * ROUNDS];
    sem_t served;
} scene;

static void poke(void) {
    CHECK(write(scene.peer, "x", 1) == 1);
}

static void end(void) {
    scene.over = 1;
    poke();
}

int scene_serve(void) {
    char bytes[64];
    while (read(scene.own, bytes, sizeof bytes) > 0) {
    }
    if (!scene.over && scene.on_own)
        scene.on_own();
    return scene.over;
}

void scene_count_poll(void) {
    scene.polls++;
}

static void expect_polls(unsigned most) {
    printf("    %u polls, of %u at most\n", scene.polls, most);
    /* valgrind runs one thread at a time, and all of them look asleep. */
    CHECK(scene.polls <= most || getenv("UNDER_VALGRIND"));
    scene.polls = 0;
}

static void count_drop(void *data) {
    (void)data;
    scene.dropped++;
}

static void call(sb_handler handler, void *data) {
    scene.expected_drops++;
    CHECK(sb_call(scene.reactor, handler, data, count_drop, NULL) == SB_OK);
}

static int32_t never(void *data) {
    (void)data;
    CHECK(!"never called");
    return SB_DONE;
}

static int32_t never_ready(void *data, uint32_t readiness) {
    (void)readiness;
    return never(data);
}

/* A source of which nothing ever comes, and a timer that is not to fire. */
static void idle(void) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, scene.idle_fds) == 0);
    CHECK(sb_watch_new(scene.reactor, scene.idle_fds[0], SB_READABLE, never_ready, NULL, count_drop, &scene.idle)
          == SB_OK);
    CHECK(sb_after(scene.reactor, HOUR, never, NULL, count_drop, NULL) == SB_OK);
    scene.expected_drops += 2;
}

static void run_loop(void) {
    CHECK(scene.host->run(scene.loop) == SB_OK);
}

/* A thread, as seen from others. */
static void loop_thread(char path[64]) {
    char link[40] = "";
    CHECK(readlink("/proc/thread-self", link, sizeof link - 1) > 0);
    snprintf(path, 64, "/proc/%s/stat", link);
}

static void wait_until_asleep(const char *path) {
    for (;;) {
        char line[256] = "";
        FILE *file = fopen(path, "r");
        CHECK(file && fgets(line, sizeof line, file));
        fclose(file);
        const char *state = strrchr(line, ')');
        if (state && state[2] == 'S')
            return;
        sched_yield();
    }
}

/* 1 */

static int32_t note_round(void *data) {
    unsigned number = (unsigned)(uintptr_t)data;
    scene.order[scene.count++] = number;
    number < ROUNDS ? poke() : end();
    return SB_DONE;
}

static void schedule_next(void) {
    call(note_round, (void *)(uintptr_t)++scene.round);
}

static int32_t poke_once(void *data) {
    (void)data;
    poke();
    return SB_DONE;
}

static void calls_scheduled_outside_a_turn_are_dialed(void) {
    idle();
    scene.on_own = schedule_next;
    call(poke_once, NULL);
    run_loop();
    CHECK(scene.count == ROUNDS);
    for (unsigned at = 0; at < ROUNDS; at++)
        CHECK(scene.order[at] == at + 1);
    expect_polls(3 * ROUNDS);
}

/* 2 */

static void *poke_when_asleep(void *path) {
    for (int round = 0; round < ROUNDS; round++) {
        wait_until_asleep(path);
        poke();
        sem_wait(&scene.served);
    }
    return NULL;
}

static void end_after_rounds(void) {
    if (++scene.round == ROUNDS)
        end();
    sem_post(&scene.served);
}

static void it_sleeps_when_there_is_nothing_to_do(void) {
    char path[64];
    pthread_t thread;
    idle();
    loop_thread(path);
    scene.on_own = end_after_rounds;
    CHECK(pthread_create(&thread, NULL, poke_when_asleep, path) == 0);
    run_loop();
    pthread_join(thread, NULL);
    expect_polls(ROUNDS + 5);
}

/* 3 */

static int32_t chain(void *data) {
    uintptr_t left = (uintptr_t)data;
    if (left == 0)
        end();
    else
        call(chain, (void *)(left - 1));
    return SB_DONE;
}

static void it_never_sleeps_with_work_pending(void) {
    struct rusage before, after;
    idle();
    CHECK(sb_set_budget(scene.reactor, 1) == SB_OK);
    call(chain, (void *)1000);
    getrusage(RUSAGE_THREAD, &before);
    run_loop();
    getrusage(RUSAGE_THREAD, &after);
    long slept = after.ru_nvcsw - before.ru_nvcsw;
    printf("    slept %ld times\n", slept);
    CHECK(slept < 50 || getenv("UNDER_VALGRIND"));
    expect_polls(1010);
}

/* 4 and 5 */

static const uint64_t delays[] = {7 * MILLISECOND, 2 * MILLISECOND, 300000, 4 * MILLISECOND, 1};
static const unsigned sorted[] = {4, 2, 1, 3, 0};
#define DELAYS (sizeof delays / sizeof *delays)

typedef struct {
    unsigned number;
    uint64_t deadline;
    int last_ends, pokes;
} alarm_data;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 * MILLISECOND + (uint64_t)time.tv_nsec;
}

static void free_counted(void *data) {
    free(data);
    scene.dropped++;
}

static int32_t on_alarm(void *data) {
    alarm_data *alarm = data;
    CHECK(now() >= alarm->deadline);
    scene.order[scene.count++] = alarm->number;
    if (alarm->pokes)
        poke();
    if (alarm->last_ends && scene.count % DELAYS == 0)
        end();
    return SB_DONE;
}

static void arm(unsigned number, int last_ends, int pokes) {
    alarm_data *data = malloc(sizeof *data);
    *data = (alarm_data){number, now() + delays[number], last_ends, pokes};
    scene.expected_drops++;
    CHECK(sb_after(scene.reactor, delays[number], on_alarm, data, free_counted, NULL) == SB_OK);
}

static int32_t arm_all(void *data) {
    (void)data;
    for (unsigned number = 0; number < DELAYS; number++)
        arm(number, 1, 0);
    return SB_DONE;
}

static void arm_next(void) {
    if (scene.round < DELAYS) {
        arm(scene.round++, 0, 1);
        return;
    }
    sb_id unwanted;
    unsigned dropped = scene.dropped;
    scene.expected_drops++;
    CHECK(sb_after(scene.reactor, MILLISECOND, never, NULL, count_drop, &unwanted) == SB_OK);
    CHECK(sb_cancel(scene.reactor, unwanted) == SB_OK);
    CHECK(scene.dropped == dropped + 1);
    CHECK(sb_cancel(scene.reactor, unwanted) == SB_LATE);
    arm_all(NULL);
}

static void timers_armed_outside_a_turn_fire_and_not_early(void) {
    idle();
    scene.on_own = arm_next;
    poke();
    run_loop();
    CHECK(scene.count == 2 * DELAYS);
    for (unsigned at = 0; at < DELAYS; at++)
        CHECK(scene.order[at] == at && scene.order[DELAYS + at] == sorted[at]);
    expect_polls(7 * DELAYS);
}

static void timers_armed_within_a_turn_fire_and_not_early(void) {
    idle();
    call(arm_all, NULL);
    run_loop();
    CHECK(scene.count == DELAYS);
    for (unsigned at = 0; at < DELAYS; at++)
        CHECK(scene.order[at] == sorted[at]);
    expect_polls(3 * DELAYS);
}

/* 6 */

static int32_t endless(void *data) {
    if (!scene.over)
        call(endless, data);
    return SB_DONE;
}

static int32_t echo(void *data, uint32_t readiness) {
    int fd = *(int *)data;
    char bytes[16];
    ssize_t count;
    CHECK(readiness & SB_READABLE);
    while ((count = read(fd, bytes, sizeof bytes)) > 0)
        CHECK(write(fd, bytes, (size_t)count) == count);
    return SB_DONE;
}

static void *talk(void *data) {
    int fd = *(int *)data;
    for (int round = 0; round < ROUNDS; round++) {
        char byte = 'x';
        CHECK(write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1);
        poke();
        sem_wait(&scene.served);
    }
    return NULL;
}

static void io_is_served_while_calls_keep_scheduling_calls(void) {
    int fds[2];
    sb_watch *watch;
    pthread_t thread;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    scene.expected_drops++;
    CHECK(sb_watch_new(scene.reactor, fds[0], SB_READABLE, echo, &fds[0], count_drop, &watch) == SB_OK);
    call(endless, NULL);
    scene.on_own = end_after_rounds;
    CHECK(pthread_create(&thread, NULL, talk, &fds[1]) == 0);
    run_loop();
    pthread_join(thread, NULL);
    CHECK(sb_watch_free(watch) == SB_OK);
    close(fds[0]);
    close(fds[1]);
}

/* 7 */

typedef struct {
    char path[64];
    sb_remote *remote;
} sender;

static int32_t count_sent(void *data) {
    (void)data;
    if (++scene.count == ROUNDS)
        end();
    sem_post(&scene.served);
    return SB_DONE;
}

static void *send_when_asleep(void *data) {
    sender *sender = data;
    for (int round = 0; round < ROUNDS; round++) {
        wait_until_asleep(sender->path);
        CHECK(sb_remote_call(sender->remote, count_sent, NULL, count_drop) == SB_OK);
        sem_wait(&scene.served);
    }
    CHECK(sb_call(scene.reactor, never, NULL, NULL, NULL) == SB_WRONG_THREAD);
    CHECK(sb_remote_free(sender->remote) == SB_OK);
    return NULL;
}

static void other_threads_wake_it(void) {
    sender sender;
    pthread_t thread;
    idle();
    loop_thread(sender.path);
    scene.expected_drops += ROUNDS;
    CHECK(sb_remote_new(scene.reactor, &sender.remote) == SB_OK);
    CHECK(pthread_create(&thread, NULL, send_when_asleep, &sender) == 0);
    run_loop();
    pthread_join(thread, NULL);
    CHECK(scene.count == ROUNDS);
    expect_polls(2 * ROUNDS + 5);
}

/* 8 */

static unsigned sources;

static int32_t count_ready(void *data, uint32_t readiness) {
    (void)data;
    CHECK(readiness == SB_WRITABLE);
    if (++scene.count == sources)
        end();
    return SB_DONE;
}

static void more_sources_than_a_batch_holds_are_all_reported(void) {
    enum { MOST = 1100 }; /* a poll has room for 1,024 events */
    static sb_watch *watches[MOST];
    static int fds[MOST];
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    sources = limit.rlim_max < MOST + 50 ? (unsigned)limit.rlim_max - 50 : MOST;
    if (sources < MOST)
        printf("    %u sources instead of %d\n", sources, MOST);
    CHECK(sb_set_budget(scene.reactor, 2 * sources) == SB_OK);
    for (unsigned at = 0; at < sources; at++) {
        fds[at] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        CHECK(fds[at] >= 0);
        scene.expected_drops++;
        CHECK(sb_watch_new(scene.reactor, fds[at], SB_WRITABLE, count_ready, NULL, count_drop, &watches[at]) == SB_OK);
    }
    run_loop();
    CHECK(scene.count == sources);
    for (unsigned at = 0; at < sources; at++) {
        CHECK(sb_watch_free(watches[at]) == SB_OK);
        close(fds[at]);
    }
}

/* 9 */

static int32_t note(void *data) {
    scene.order[scene.count++] = (unsigned)(uintptr_t)data;
    return SB_DONE;
}

static int32_t fail(void *data) {
    note(data);
    return -1;
}

static int32_t end_now(void *data) {
    (void)data;
    end();
    return SB_DONE;
}

static int32_t arm_and_fail(void *data) {
    scene.expected_drops++;
    CHECK(sb_after(scene.reactor, 3 * MILLISECOND, end_now, NULL, count_drop, NULL) == SB_OK);
    call(fail, data);
    return SB_DONE;
}

static void it_goes_on_after_a_failed_handler(void) {
    uint64_t failed;
    idle();
    call(fail, (void *)1);
    call(note, (void *)2);
    /* A timer that is armed right before a failure, with nothing behind, fires. */
    call(arm_and_fail, (void *)3);
    CHECK(scene.host->run(scene.loop) == SB_FAILED);
    CHECK(scene.host->run(scene.loop) == SB_FAILED);
    run_loop();
    CHECK(scene.count == 3);
    for (unsigned at = 0; at < 3; at++)
        CHECK(scene.order[at] == at + 1);
    CHECK(sb_failed_count(scene.reactor, &failed) == SB_OK && failed == 2);
    expect_polls(10);
}

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    {"calls scheduled outside a turn are dialed", calls_scheduled_outside_a_turn_are_dialed},
    {"it sleeps when there is nothing to do", it_sleeps_when_there_is_nothing_to_do},
    {"it never sleeps with work pending", it_never_sleeps_with_work_pending},
    {"timers armed outside a turn fire and not early", timers_armed_outside_a_turn_fire_and_not_early},
    {"timers armed within a turn fire and not early", timers_armed_within_a_turn_fire_and_not_early},
    {"I/O is served while calls keep scheduling calls", io_is_served_while_calls_keep_scheduling_calls},
    {"other threads wake it", other_threads_wake_it},
    {"more sources than a batch holds are all reported", more_sources_than_a_batch_holds_are_all_reported},
    {"it goes on after a failed handler", it_goes_on_after_a_failed_handler},
};

static void slept(int signal) {
    static const char message[] = "FAILED: the loop slept with something to do\n";
    (void)signal;
    (void)!write(2, message, sizeof message - 1);
    _exit(1);
}

void run_scenarios(const host *host) {
    signal(SIGALRM, slept);
    for (unsigned at = 0; at < sizeof scenarios / sizeof *scenarios; at++) {
        int fds[2];
        memset(&scene, 0, sizeof scene);
        running = scenarios[at].name;
        printf("%s: %s\n", host->name, running);
        fflush(stdout);
        alarm(PATIENCE);
        CHECK(sem_init(&scene.served, 0, 0) == 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
        scene.own = fds[0];
        scene.peer = fds[1];
        scene.host = host;
        CHECK(sb_reactor_new(&scene.reactor) == SB_OK);
        scene.loop = host->new_loop(scene.reactor, scene.own);
        scenarios[at].run();
        alarm(0);
        host->free_loop(scene.loop);
        CHECK(sb_watch_free(scene.idle) == SB_OK);
        CHECK(sb_reactor_free(scene.reactor) == SB_OK);
        CHECK(scene.dropped == scene.expected_drops);
        if (scene.idle) {
            close(scene.idle_fds[0]);
            close(scene.idle_fds[1]);
        }
        close(fds[0]);
        close(fds[1]);
        sem_destroy(&scene.served);
    }
    printf("%s: all held\n", host->name);
}
