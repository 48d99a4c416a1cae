/* SPDX-License-Identifier: MIT */
/* io/secret.h - a password, or a token: the first line of a file. */
#pragma once

enum { SECRET_MAX = 8 * 1024 };

/* Opens the file. Returns a descriptor or a negative errno. */
int secret_open(const char *path);

/* Reads the secret from the beginning of the file. Returns 0 or a negative errno. */
int secret_read(int fd, char ret[static SECRET_MAX + 1]);

/* Copies the secret into a sealed file in memory. Returns a descriptor or a negative errno. */
int secret_seal(const char *path);

/* A text for such an errno. */
const char *secret_reason(int error);
