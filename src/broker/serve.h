/* SPDX-License-Identifier: MIT */
/* broker/serve.h - the broker's end: one request after another, until the session ends. */
#pragma once

#include "broker/request.h"

/* In a process of its own, which keeps nothing of what it has but the log and the session's socket.
 * What a session must not ask is logged, and ends it. */
_Noreturn void serve(const struct services *s, int session);
