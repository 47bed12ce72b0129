#include "server/server_command.h"

#include "server/server_lifecycle.h"
#include "server/server_options.h"
#include "server/service_notify.h"
#include "server/start_watch.h"
#include "server/stop_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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

/* All threads inherit the mask, so that only those who ask see these: start_watch.c, then sigwait() below. */
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

/* From start to stop; the options are good. */
static int serve(const struct server_options *options)
{
    sigset_t set;
    struct error e = ERROR_INIT;
    (void)umask(077); /* what RocksDB makes has no mode of our choice: names of objects stand in it */
    file_limit_raise();
    signals_block(&set);
    struct server *server = NULL;
    struct start_watch watch;
    start_watch_begin(&watch, server_command_name(options->command));
    enum errc rc = server_start(options, &server, &e);
    start_watch_end(&watch);
    if (rc != ERRC_OK) {
        (void)fprintf(stderr, "cairn %s: %s\n", server_command_name(options->command), e.text);
        return EXIT_FAILED;
    }
    if ((options->command & SERVER_ONCE) == 0) {
        service_notify("READY=1");
        signals_serve(server, &set);
        service_notify("STOPPING=1");
    }
    struct stop_watch stop;
    stop_watch_begin(&stop, STOP_WATCH_MS);
    rc = server_stop(server, &stop);
    stop_watch_end(&stop);
    return rc == ERRC_OK ? 0 : EXIT_FAILED;
}

static int command_run(enum server_command command, int argc, char **argv)
{
    struct server_options options;
    struct error e = ERROR_INIT;
    const char *name = server_command_name(command);
    int status = 0;
    if (server_options_parse(command, argc, argv, &options, &e) != ERRC_OK) {
        (void)fprintf(stderr, "cairn %s: %s\nTry 'cairn %s --help'.\n", name, e.text, name);
        status = EXIT_USAGE;
    } else if (options.help) {
        server_options_help(command);
    } else {
        status = serve(&options);
    }
    server_options_close(&options);
    return status;
}

int server_run(int argc, char **argv)
{
    return command_run(SERVER_ALL, argc, argv);
}

int metadata_run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "recover") == 0) {
        return command_run(SERVER_METADATA_RECOVER, argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "rebuild") == 0) {
        return command_run(SERVER_METADATA_REBUILD, argc - 1, argv + 1);
    }
    return command_run(SERVER_METADATA, argc, argv);
}

int storage_node_run(int argc, char **argv)
{
    return command_run(SERVER_STORAGE_NODE, argc, argv);
}

int gateway_run(int argc, char **argv)
{
    return command_run(SERVER_GATEWAY, argc, argv);
}

int cluster_run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "init") == 0) {
        return command_run(SERVER_CLUSTER_INIT, argc - 1, argv + 1);
    }
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    (void)fprintf(help ? stdout : stderr, "Usage: cairn cluster init --data DIR --listen ADDR:PORT [OPTION]... [--from DIR DIR...]\n"
                                          "'cairn cluster init --help' explains it.\n");
    return help ? 0 : EXIT_USAGE;
}
