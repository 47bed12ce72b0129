/* tcp_progress - how much of what was written to a TCP socket has arrived, as the kernel knows it. Any thread. */
#ifndef GATEWAY_HTTP_TCP_PROGRESS_H
#define GATEWAY_HTTP_TCP_PROGRESS_H

#include <stdint.h>

/* Bytes that the other side has confirmed since the connection began; 0 where that can't be had. */
uint64_t tcp_acked_bytes(int fd);

#endif
