/* SPDX-License-Identifier: MIT */
/* config/again.h - the configuration file, when it is read again. */
#pragma once

/* Like open(2) for reading, by a process of its own that gets ten seconds: whoever asks serves
 * clients, and a file system may not answer. What is no file any more when it has been read once, a
 * pipe or an inherited descriptor, is not opened. Returns a descriptor with all that the file says,
 * or a negative errno. */
int again_open(const char *name);

/* What such an errno means. */
const char *again_why(int error);
