/* server_command - `cairn server DIR...`: every role in one process. */
#ifndef SERVER_SERVER_COMMAND_H
#define SERVER_SERVER_COMMAND_H

/* Runs until SIGTERM or SIGINT; returns the exit status. argv[0] is "server". */
int server_run(int argc, char **argv);

#endif
