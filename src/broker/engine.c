/* SPDX-License-Identifier: MIT */
/* broker/engine.c - reads the answer of a TLS engine. */
#include "broker/engine.h"

#include <errno.h>
#include <unistd.h>

int engine_read_answer(int control, struct patience *p, int64_t deadline,
                       char ret_answer[static SECURITY_ANSWER_MAX], size_t *ret_n) {
        struct pollfd ready = { .fd = control, .events = POLLIN };

        for (*ret_n = 0; !security_is_whole(ret_answer, *ret_n);) {
                size_t room = SECURITY_ANSWER_MAX - *ret_n;
                int r = room == 0 ? -EMSGSIZE : patience_wait(p, &ready, 1, deadline);
                ssize_t n = r == 0 ? read(control, ret_answer + *ret_n, room) : 0;

                if (n == 0)
                        return r < 0 ? r : -ECONNRESET;
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                *ret_n += n > 0 ? (size_t) n : 0;
        }
        return 0;
}

const char *engine_reason(int error) {
        return error == -ECONNRESET  ? "the handshake failed"
               : error == -ETIMEDOUT ? "the handshake took too long"
               : error == -EMSGSIZE  ? "the engine's answer is too long"
                                     : patience_reason(error);
}
