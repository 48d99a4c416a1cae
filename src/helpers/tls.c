/* SPDX-License-Identifier: MIT */
/* helpers/tls.c - smtpd-tls: speaks TLS for a program that does not. The only user of OpenSSL.
 *
 * For one connection, by the contract of smtpd-tls(8), which is that of UCSPI-TLS on the side of
 * the program: the connection is descriptor 0; on 3 we tell what was agreed upon with the peer; 4
 * is the connection in clear. Or as a server for any number of connections (tls_serve.h).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "helpers/tls_check.h"
#include "helpers/tls_confine.h"
#include "helpers/tls_connection.h"
#include "helpers/tls_context.h"
#include "helpers/tls_options.h"
#include "helpers/tls_serve.h"
#include "helpers/tls_start.h"
#include "io/fd.h"
#include "io/log.h"

enum { WIRE = 0, CONTROL = 3, CLEAR = 4 };

/* Never on the connection, where the log is of those whom inetd starts. */
static enum log_target find_log(void) {
        struct stat err, in;

        if (fstat(STDERR_FILENO, &err) < 0)
                return LOG_TO_SYSLOG;
        if (fstat(STDIN_FILENO, &in) == 0 && in.st_dev == err.st_dev && in.st_ino == err.st_ino)
                return LOG_TO_SYSLOG;
        return fd_is_journal(&err) ? LOG_TO_JOURNAL : LOG_TO_STDERR;
}

static bool is_stream(int fd) {
        int type;
        socklen_t n = sizeof(type);

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

static int run_connection(const struct tls_options *o, bool is_silent) {
        struct tls_connection c = {
                .wire = WIRE,
                .control = CONTROL,
                .clear = CLEAR,
                .timeout = o->timeout,
                .peer = { .uid = -1 },
                .server = o->is_connecting ? &o->trust : NULL,
                .is_silent = is_silent,
        };
        SSL_CTX *context;

        if (!is_stream(WIRE) || !is_stream(CONTROL) || !is_stream(CLEAR)) {
                log_say(LOG_ERR,
                        "smtpd-tls: descriptors 0, 3 and 4 must be sockets: see smtpd-tls(8)");
                return EX_USAGE;
        }
        if (!peer_of_socket(WIRE, &c.peer))
                peer_local(&c.peer);
        tls_context_start();
        context = tls_context_new(o);
        if (!context) {
                tls_connection_refuse(
                        &c, o->is_connecting ? "the authorities cannot be read: see the log"
                                             : "certificate or key cannot be used: see the log");
                return EX_CONFIG;
        }
        tls_connection_run(context, &c);
        SSL_CTX_free(context);
        return EX_OK;
}

int main(int argc, char **argv) {
        struct tls_options o;
        bool is_silent = false;
        int status = tls_options_read(&o, argc, argv);

        if (status >= 0)
                return status;
        if (o.role == TLS_CHECK)
                return tls_check(&o);
        if (o.program && (status = tls_start(o.program, &is_silent)) != TLS_STARTED)
                return status;
        tls_confine_before_key();
        close(STDOUT_FILENO);
        fd_close_range(o.role == TLS_SERVE ? CONTROL + 1 : CLEAR + 1, 0);
        log_open(find_log());
        return o.role == TLS_SERVE ? tls_serve(&o) : run_connection(&o, is_silent);
}
