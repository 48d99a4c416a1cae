/* SPDX-License-Identifier: MIT */
/* io/inherited.h - inherited descriptors. */
#pragma once

/* Tells a session the number of the socket that asks its acceptor's TLS engine. */
#define INHERITED_TLS "SMTPD_TLS_FD"

/* That of the one for upstreams. */
#define INHERITED_UPSTREAM_TLS "SMTPD_UPSTREAM_TLS_FD"

/* And that of the file with the password for upstreams, if this user may not read it. */
#define INHERITED_PASSWORD "SMTPD_UPSTREAM_PASSWORD_FD"

/* UCSPI-TLS: the numbers of descriptors of the TLS engine that started us, for its orders, what the
 * client says, and what it hears. */
#define INHERITED_UCSPI_CONTROL "SSLCTLFD"
#define INHERITED_UCSPI_IN "SSLREADFD"
#define INHERITED_UCSPI_OUT "SSLWRITEFD"

/* Closes all inherited descriptors that are not announced: all but the standard ones, those of
 * systemd's protocol (sd_listen_fds(3)), those that a variable SMTPD_..._FD or SSL...FD has, and
 * those that an argument names
 * ("--config=/dev/fd/63", a shell's <(...)). Must be called before anything is opened. */
void inherited_close(char **argv);

/* How many descriptors systemd's protocol passes to us, from LISTEN_PASSED on. */
int inherited_count(void);

/* The first of them: SD_LISTEN_FDS_START of sd_listen_fds(3). */
enum { LISTEN_PASSED = 3 };
