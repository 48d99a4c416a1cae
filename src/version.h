/* SPDX-License-Identifier: MIT */
/* version.h - what this build can do on this system. */
#pragma once

/* Prints the version and each feature, with its reason if it is not there. Returns the exit status.
 */
int version_print(void);
