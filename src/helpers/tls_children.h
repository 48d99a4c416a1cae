/* SPDX-License-Identifier: MIT */
/* helpers/tls_children.h - a server's processes, one for each connection, and who asked for it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { TLS_ASKER_UNKNOWN = 0 };

/* Why the asker cannot have one more now; NULL: it can. */
const char *tls_children_refusal(uint64_t asker);

/* Only if there is no refusal. */
void tls_children_add(pid_t child, uint64_t asker);

void tls_children_remove(pid_t child);

bool tls_children_are_there(void);

/* In a copy of the server: they are not its own. */
void tls_children_forget(void);
