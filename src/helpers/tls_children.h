/* SPDX-License-Identifier: MIT */
/* helpers/tls_children.h - the server's processes, one for each connection, with their requesters.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { TLS_ASKER_UNKNOWN = 0 };

/* Why this requester cannot have another connection now; NULL: it can. */
const char *tls_children_refusal(uint64_t asker);

/* Adds a process; only if there was no refusal. */
void tls_children_add(pid_t child, uint64_t asker);

void tls_children_remove(pid_t child);

bool tls_children_are_there(void);

/* Forgets all processes; for a copy of the server, whose children they are not. */
void tls_children_forget(void);
