/* SPDX-License-Identifier: MIT */
/* broker/vector.h - the environment of a program for execve(2): the variables of smtpd-exec(7), and
 * what it inherits from ours. */
#pragma once

#include "broker/request.h"

/* Allocates the vector with its constant part. Returns NULL if memory runs out. */
char **vector_new(const struct services *s);

/* Adds variables that request_check_variables() has accepted. They must stay valid. */
void vector_set(char **vector, char *variables);
