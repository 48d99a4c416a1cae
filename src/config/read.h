/* SPDX-License-Identifier: MIT */
/* config/read.h - parsing shared by the command line and the file. */
#pragma once

#include <stdbool.h>

#include "config/options.h"

/* The state of reading a configuration. */
struct reading {
        struct config *config;
        config_complaint *complain;
        struct place given[N_OPTIONS_MAX]; /* of each option, its last place */
        bool is_given[N_OPTIONS_MAX];
        unsigned n_in_arguments, n_in_files; /* mistakes */
        bool is_incomplete;                  /* a file could not be read to its end */
        bool is_listening, is_public;        /* --listen on the command line; and beyond loopback */
};

/* Which options of the command line to take: before the file, those that name it. */
enum pass { PASS_BEFORE_FILE, PASS_AFTER_FILE };

/* Takes the options of the command line; argv[argc] is NULL. */
void read_arguments(struct reading *r, int argc, char **argv, enum pass pass);

/* Takes the options of a file. Returns whether there is one. */
bool read_file(struct reading *r, const char *name, bool must_exist);

/* The descriptor N if the name is /dev/fd/N, which is closed after reading (the acceptor passes a
 * configuration like this), or -1. */
int read_passed(const char *name);

enum { READ_FILE_MAX = 16 * 1024 * 1024 }; /* octets that a file may not reach */

/* Where an option was given last. */
struct place read_place(const struct reading *r, const char *name);

/* Takes one option's value. */
void read_value(struct reading *r, const struct option *o, const char *value, struct place place);

/* Reports and counts an error. The format is that of base/text.h. */
__attribute__((format(printf, 3, 4))) void read_complain(struct reading *r, struct place place,
                                                         const char *format, ...);

/* Reports a name of n octets that is no option's, with what may have been meant. */
void read_complain_unknown(struct reading *r, struct place place, const char *dashes,
                           const char *name, size_t n);

/* Whether it counts as blank, in values and at the ends of lines. */
static inline bool read_is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
