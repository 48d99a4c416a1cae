/* io/inherited.h - descriptors that whoever started us left open. */
#pragma once

/* Closes those that nobody told us of: all but the standard ones, those of systemd's protocol
 * (sd_listen_fds(3)), those that a variable SMTPD_..._FD has, and those that an argument names
 * ("--config=/dev/fd/63", a shell's <(...)). Before anything else is opened. */
void inherited_close(char **argv);

/* How many descriptors systemd's protocol passes to us, from LISTEN_PASSED on. */
int inherited_count(void);

/* The first of them: SD_LISTEN_FDS_START of sd_listen_fds(3). */
enum { LISTEN_PASSED = 3 };
