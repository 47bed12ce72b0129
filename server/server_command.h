/*
 * server_command - the commands that run until they are told to end: `cairn server DIR...` (every role in one process)
 * and the roles of a cluster. Also `cairn cluster init`, which ends by itself.
 */
#ifndef SERVER_SERVER_COMMAND_H
#define SERVER_SERVER_COMMAND_H

/* Each runs until SIGTERM or SIGINT; returns the exit status. argv[0] is the command's last word. */
int server_run(int argc, char **argv);
int metadata_run(int argc, char **argv);
int storage_node_run(int argc, char **argv);
int gateway_run(int argc, char **argv);
int cluster_run(int argc, char **argv);

#endif
