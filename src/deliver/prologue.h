/* SPDX-License-Identifier: MIT */
/* deliver/prologue.h - prepares a connection to an upstream before a session gets it: the greeting,
 * STARTTLS, AUTH. Runs in a process of its own: broker/prologue.h.
 */
#pragma once

#include <stdbool.h>

#include "broker/prologue.h"

/* Whether connections need this. */
bool prologue_is_needed(const struct config *c);

/* Reads the password, before we are confined. */
void prologue_read_password(const struct prologue_plan *plan);

/* Prepares a connection. */
void prologue_speak(const struct prologue *p, struct prologue_result *ret);
