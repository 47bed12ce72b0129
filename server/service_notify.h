/*
 * service_notify - tells the service manager how far the process is (sd_notify(3), without its library).
 *
 * One datagram to the socket that NOTIFY_SOCKET names: a path, or with '@' first an abstract name. Without the variable
 * nothing happens; an answer does not exist, so a failure is logged and changes nothing.
 */
#ifndef SERVER_SERVICE_NOTIFY_H
#define SERVER_SERVICE_NOTIFY_H

void service_notify(const char *state); /* "READY=1", "STOPPING=1" */

#endif
