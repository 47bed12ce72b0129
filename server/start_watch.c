#include "server/start_watch.h"

#include "server/service_notify.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define END_SIGNAL SIGUSR1 /* from start_watch_end, to this thread alone */

static void *watch_main(void *data)
{
    const struct start_watch *watch = data;
    sigset_t set;
    int number = 0;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, END_SIGNAL);
    while (sigwait(&set, &number) != 0) {
    }
    if (number != END_SIGNAL) {
        char line[128];
        int len = snprintf(line, sizeof(line), "cairn %s: told to end during its start\n", watch->name);
        service_notify("STOPPING=1");
        ssize_t n = write(STDERR_FILENO, line, (size_t)len); /* not stdio: main may hold its lock */
        (void)n;
        _exit(0);
    }
    return NULL;
}

void start_watch_begin(struct start_watch *watch, const char *name)
{
    sigset_t all;
    sigset_t before;
    watch->name = name;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    watch->runs = pthread_create(&watch->thread, NULL, watch_main, watch) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void start_watch_end(struct start_watch *watch)
{
    if (watch->runs) {
        (void)pthread_kill(watch->thread, END_SIGNAL); /* it runs: it can only end by this */
        (void)pthread_join(watch->thread, NULL);
        watch->runs = false;
    }
}
