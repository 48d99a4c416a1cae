/* SPDX-License-Identifier: MIT */
/* broker/vector.h - the environment of a program as execve(2) wants it: the variables of
 * smtpd-exec(7), and what it inherits of ours. */
#pragma once

#include "broker/request.h"

/* Room for it, with what does not change. NULL if memory is out. */
char **vector_new(const struct services *s);

/* Puts the variables in, which request_check_variables() likes. They stay in use. */
void vector_set(char **vector, char *variables);
