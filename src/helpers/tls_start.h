/* SPDX-License-Identifier: MIT */
/* helpers/tls_start.h - starts a program that asks for TLS itself: UCSPI-TLS, for one connection.
 */
#pragma once

#include <stdbool.h>

/* Forks. The parent becomes the program, with $SSLCTLFD and the other variables. The child is the
 * engine: it returns TLS_STARTED when the program asks for TLS, with descriptors 0, 3 and 4 as in
 * the contract and `ret_is_silent` set if no answer is wanted; it exits if the program never asks.
 * Returns an exit status on failure. */
int tls_start(char **argv, bool *ret_is_silent);

enum { TLS_STARTED = -1 };
