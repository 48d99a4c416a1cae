/* SPDX-License-Identifier: MIT */
/* helpers/tls_start.h - a program that asks for TLS by itself: UCSPI-TLS, for one connection. */
#pragma once

#include <stdbool.h>

/* Two processes go on from here: the program, in our place, with $SSLCTLFD and the others; and the
 * engine, which returns once it is asked for TLS: then its descriptors are those of the contract,
 * 0, 3 and 4, and it is known whether an answer is wanted. It ends if it is not asked. Returns an
 * exit status if it cannot be done. */
int tls_start(char **argv, bool *ret_is_silent);

enum { TLS_STARTED = -1 };
