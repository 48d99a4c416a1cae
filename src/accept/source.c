/* SPDX-License-Identifier: MIT */
/* accept/source.c - the source of a connection. */
#include "accept/source.h"

#include <string.h>

struct source source_of(int connection, const union source_address *address) {
        struct source s = { .family = (unsigned char) address->any.sa_family };
        const unsigned char *octets = address->v6.sin6_addr.s6_addr;
        struct ucred cred;
        socklen_t n = sizeof(cred);

        if (s.family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr)) {
                s.family = AF_INET;
                memcpy(s.octets, octets + 12, 4);
        } else if (s.family == AF_INET6)
                memcpy(s.octets, octets, sizeof(s.octets));
        else if (s.family == AF_INET)
                memcpy(s.octets, &address->v4.sin_addr, 4);
        else if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0)
                memcpy(s.octets, &cred.uid, sizeof(cred.uid));
        return s;
}

bool source_is_equal(const struct source *a, const struct source *b) {
        return a->family == b->family && memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}
