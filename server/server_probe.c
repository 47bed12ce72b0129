/* A look at a port before anything is written. Between this and the listeners somebody else may take it: then the start
 * fails later, with the data set made. */
#include "server/server_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static socklen_t address_fill(const struct server_address *address, struct sockaddr_storage *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(address->port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(address->port) };
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, address->host, &in.sin_addr) == 1) {
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    if (inet_pton(AF_INET6, address->host, &in6.sin6_addr) == 1) {
        memcpy(ret, &in6, sizeof(in6));
        return sizeof(in6);
    }
    return 0; /* server_address_parse lets only these two through */
}

enum errc server_address_probe(const struct server_address *address, struct error *e)
{
    struct sockaddr_storage storage;
    socklen_t len = address_fill(address, &storage);
    int one = 1;
    int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
              (storage.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0) &&
              bind(fd, (const struct sockaddr *)&storage, len) == 0 && listen(fd, 1) == 0;
    enum errc rc = ok ? ERRC_OK
                      : error_set(e, ERRC_IO, "cannot listen on %s port %u: %s", address->host, address->port,
                                  strerror(errno));
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}
