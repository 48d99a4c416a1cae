/* sandbox.h - a session confines itself, once it has all it needs and before it reads what a stranger sends.
 *
 * What it may still do depends on the strategy:
 *
 *   print                           talk on the descriptors it has; make a nameless or new file for a long message
 *   proxy, mailman (3)              and connect; where an upstream is a name, also read files, as the resolver does
 *   journal                         run its helper, which inherits this: new sockets are local
 *   exec, mailman (2.1)             anything: the programs that it runs are the administrator's, and would inherit it
 *
 * To execute, to open or to connect beyond that ends the process (SIGSYS). It is done with seccomp(2) and landlock(7), as far
 * as the kernel has them; what it has not is left out without a word. Privileges cannot be gained any more, there are no core
 * files, and few descriptors.
 */
#pragma once

#include "config/config.h"

/* After the strategy was opened. */
void sandbox_enter(const struct config *c);
