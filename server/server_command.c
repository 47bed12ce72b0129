#include "server/server_command.h"

#include "server/server_lifecycle.h"
#include "server/server_options.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define EXIT_FAILED 1
#define EXIT_USAGE 2

/* Connections, segments and tables are all open files: take what the machine allows. */
static void file_limit_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: the old limit stays, and accept() copes */
    }
}

/* All threads inherit the mask, so that only sigwait() below sees these. */
static void signals_block(sigset_t *ret_set)
{
    (void)sigemptyset(ret_set);
    (void)sigaddset(ret_set, SIGTERM);
    (void)sigaddset(ret_set, SIGINT);
    (void)sigaddset(ret_set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, ret_set, NULL);
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

static void signals_serve(struct server *server, const sigset_t *set)
{
    for (;;) {
        int number = 0;
        if (sigwait(set, &number) != 0) {
            continue;
        }
        if (number == SIGHUP) {
            server_reload(server);
        } else {
            return;
        }
    }
}

int server_run(int argc, char **argv)
{
    struct server_options options;
    struct error e = ERROR_INIT;
    if (server_options_parse(argc, argv, &options, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn server: %s\nTry 'cairn server --help'.\n", e.text);
        return EXIT_USAGE;
    }
    if (options.help) {
        server_options_help();
        return 0;
    }
    sigset_t set;
    (void)umask(077); /* what RocksDB makes has no mode of our choice: names of objects stand in it */
    file_limit_raise();
    signals_block(&set);
    struct server *server = NULL;
    if (server_start(&options, &server, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn server: %s\n", e.text);
        return EXIT_FAILED;
    }
    signals_serve(server, &set);
    return server_stop(server) == ERRC_OK ? 0 : EXIT_FAILED;
}
