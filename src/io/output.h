/* io/output.h - the output: where messages are shown. It is standard error; of an acceptor that was
 * told where to listen, and of its sessions, the acceptor's standard output.
 */
#pragma once

/* Tells a session the number of the descriptor that its acceptor passes on. */
#define OUTPUT_VARIABLE "SMTPD_OUTPUT_FD"

/* -1 means that there is none. The name is for people. */
void output_set(int fd, const char *name);

int output_fd(void);
const char *output_name(void);
