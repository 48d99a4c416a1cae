/* SPDX-License-Identifier: MIT */
/* config/again.h - reads the configuration file again. */
#pragma once

/* Opens and reads a file in a separate process with a limit of ten seconds, because a file system
 * may hang and the acceptor must go on serving. Pipes and inherited descriptors, which can be read
 * only once, are refused. Returns a descriptor with the content of the file, or a negative errno.
 */
int again_open(const char *name);

/* A text for such an errno. */
const char *again_why(int error);
