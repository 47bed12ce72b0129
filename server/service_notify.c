#include "server/service_notify.h"

#include "common/io/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void service_notify(const char *state)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (name == NULL || name[0] == '\0') {
        return;
    }
    size_t len = strlen(name);
    int fd = -1;
    errno = ENAMETOOLONG;
    if (len < sizeof(address.sun_path)) {
        memcpy(address.sun_path, name, len);
        if (name[0] == '@') {
            address.sun_path[0] = '\0'; /* an abstract name: the length says where it ends */
        }
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, address_len) < 0) {
        LOG_WARN(log_event("service_not_notified"), log_text("state", state), log_text("why", strerror(errno)));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}
