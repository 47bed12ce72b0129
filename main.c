/*
 * main - the one binary: finds the command and hands over. Roles are composed in server/, admin verbs
 * stand in tools/.
 *
 * Exit status: 0 only when what was asked is done; 1 when it failed; 2 for a command line that cannot be right.
 */
#include "server/server_command.h"
#include "tools/admin.h"
#include "tools/bench/bench.h"

#include <malloc.h>
#include <stdio.h>
#include <stdbool.h>
#include <string.h>

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name */
};

static int help_run(int argc, char **argv);
static int version_run(int argc, char **argv);
static int metadata_command_run(int argc, char **argv);

static const struct command commands[] = {
    { "server", "store and serve objects on the given directories: the whole system in one process", server_run },
    { "cluster", "make a new cluster of several machines", cluster_run },
    { "metadata", "run a voter of a cluster's metadata service; list, promote, remove, back up, rebuild voters", metadata_command_run },
    { "storage-node", "keep a cluster's shards on this machine's disks", storage_node_run },
    { "gateway", "serve S3 from a cluster", gateway_run },
    { "status", "show what a running server stores, and what is degraded", admin_status_run },
    { "durability", "count the stripes at each strength, exactly", admin_durability_run },
    { "repair", "show, pause, resume or hasten the rebuilding of what is missing", admin_repair_run },
    { "scrub", "show how far the checking of every shard is, or begin it anew", admin_scrub_run },
    { "rebalance", "show, stop or start the moving of shards to where they should stand", admin_rebalance_run },
    { "fsck", "prove that counters, references and shards are what the metadata says", admin_fsck_run },
    { "trace", "show requests as they end", admin_trace_run },
    { "support", "write a file for somebody who is to help", admin_support_run },
    { "disk", "list disks; adopt an empty directory in place of a lost one", admin_disk_run },
    { "bucket", "list buckets with their counters; give one another code", admin_bucket_run },
    { "class", "list, make, remove storage classes with an erasure code of their own", admin_class_run },
    { "node", "list the processes of a cluster; drain, keep, remove a storage node", admin_node_run },
    { "token", "make a one-time token with which a process joins a cluster", admin_token_run },
    { "explain", "show where an object's shards lie and whether they are whole", admin_explain_run },
    { "bench", "generate S3 load and report throughput and latencies", bench_main },
    { "version", "print the version", version_run },
    { "help", "print this text, or the help of a command", help_run },
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void usage_print(FILE *out)
{
    (void)fprintf(out, "Usage: cairn COMMAND [OPTION]... [ARGUMENT]...\n"
                       "Cairn is an S3-compatible object store that keeps erasure-coded objects on your own disks.\n\n"
                       "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        (void)fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    (void)fprintf(out, "\n'cairn COMMAND --help' explains a command.\n"
                       "First steps:  cairn server ./disk1 ./disk2 ./disk3 ./disk4 ./disk5 ./disk6\n"
                       "Manual:       man cairn\n");
}

static int version_run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        (void)printf("Usage: cairn version\nPrint the version.\n");
        return 0;
    }
    if (argc > 1) {
        (void)fprintf(stderr, "cairn version: unknown argument '%s'\nTry 'cairn version --help'.\n", argv[1]);
        return 2;
    }
    (void)printf("cairn %s\n", CAIRN_VERSION);
    return 0;
}

static const struct command *command_find(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        name = "version";
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    (void)fprintf(stderr, "cairn: unknown command '%s'\nTry 'cairn --help'.\n", name);
    return 2;
}

/* 'cairn metadata --data DIR' is a process, 'cairn metadata list' a verb. */
static int metadata_command_run(int argc, char **argv)
{
    bool offline = argc > 1 && (strcmp(argv[1], "recover") == 0 || strcmp(argv[1], "rebuild") == 0);
    return argc > 1 && argv[1][0] != '-' && !offline ? admin_metadata_run(argc, argv) : metadata_run(argc, argv);
}

/* 'help COMMAND' is 'COMMAND --help'. */
static int help_run(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0 || argv[1][0] == '-') {
        usage_print(stdout);
        return 0;
    }
    const struct command *command = command_find(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    static char help_option[] = "--help";
    char *arguments[] = { argv[1], help_option, NULL };
    return command->run(2, arguments);
}

/* Each heap of its own that glibc gives a thread keeps what it once held; a server has few threads that allocate much. */
#define HEAPS_MAX 2

int main(int argc, char **argv)
{
    (void)mallopt(M_ARENA_MAX, HEAPS_MAX); /* refused: more memory, no harm */
    if (argc < 2) {
        usage_print(stderr);
        return 2;
    }
    const struct command *command = command_find(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    int status = command->run(argc - 1, argv + 1);
    if (fflush(stdout) != 0 && status == 0) {
        perror("cairn: standard output");
        status = 1;
    }
    return status;
}
