/* SPDX-License-Identifier: MIT */
/* broker/serve.h - the broker's end: one request after another, until the session ends. */
#pragma once

#include "broker/request.h"

/* Runs in its own process, which closes everything but the log and the session's socket. A
 * forbidden request is logged, and ends it. */
_Noreturn void serve(const struct services *s, int session);
