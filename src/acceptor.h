/* acceptor.h - listening sockets: a fresh process for each connection, within limits. Knows no SMTP but the 421 that those get
 * for whom there is no room.
 *
 * Each connection is served by this program, executed afresh: its address space is its own, and it gets the connection as
 * descriptors 0 and 1, standard error as it is, the configuration (which it reads as a file, and closes),
 * a pipe in which to count its messages, and the output (io/output.h) if it shows them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "io/listen.h"

enum { ACCEPTOR_LISTENERS_MAX = 64 };

/* The listening sockets that we were given: by systemd (sd_listen_fds(3)), or as standard input (inetd(8), wait). Returns
 * how many of `ret` it has filled. */
size_t acceptor_take_passed(struct listener ret[static ACCEPTOR_LISTENERS_MAX]);

/* Listens where the configuration says too (`listeners` has room for ACCEPTOR_LISTENERS_MAX), gives up root, and serves until
 * SIGTERM or SIGINT. `load` reads the configuration again at SIGHUP; it returns false, having said why, if it is not to be
 * used. `mistakes` is what config_load() returned. Where it cannot serve it tells those who wait at passed sockets. Returns an
 * exit status. */
int acceptor_run(struct config *c, struct listener *listeners, size_t n_passed, int mistakes, bool (*load)(struct config *ret));
