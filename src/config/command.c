/* SPDX-License-Identifier: MIT */
/* config/command.c - the value of "command": PROGRAM [ARG...].
 *
 * Words between blanks; "" and '' group. There is no shell, and no other sign means anything.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

/* The length of the word at s, in which quotes group; 0 where a quote is not closed. */
static size_t word_length(const char *s) {
        char quote = '\0';
        size_t n = 0;

        for (; s[n] && (quote || (s[n] != ' ' && s[n] != '\t')); n++)
                if (quote == s[n])
                        quote = '\0';
                else if (!quote && (s[n] == '"' || s[n] == '\''))
                        quote = s[n];
        return quote ? 0 : n;
}

/* A word without its quotes. NULL when memory is out. */
static char *unquote(const char *word, size_t n) {
        char *text = malloc(n + 1), *end = text, quote = '\0';

        for (size_t i = 0; text && i < n; i++)
                if (quote ? word[i] == quote : word[i] == '"' || word[i] == '\'')
                        quote = quote ? '\0' : word[i];
                else
                        *end++ = word[i];
        if (text)
                *end = '\0';
        return text;
}

static void clear_command(void *field) {
        char ***words = field;

        for (char **p = *words; p && *p; p++)
                free(*p);
        free(*words);
        *words = NULL;
}

static bool parse_command(const struct option *o, const char *value, void *field) {
        char **words;
        size_t n = 0;

        (void) o;
        clear_command(field);
        words = *(char ***) field = calloc(strlen(value) / 2 + 2, sizeof(*words));
        for (const char *p = value + strspn(value, " \t"); words && *p; p += strspn(p, " \t")) {
                size_t length = word_length(p);

                if (length == 0 || !(words[n++] = unquote(p, length)))
                        return false;
                p += length;
        }
        return n > 0 && *words[0];
}

/* Quotes what has to be; a word with quotes of both kinds becomes several quoted parts. */
static void print_word(const char *word, FILE *out) {
        if (*word && *word != '#' && !strpbrk(word, " \t\"'")) {
                fputs(word, out);
                return;
        }
        do {
                char quote = *word == '"' ? '\'' : '"';
                size_t n = strcspn(word, quote == '"' ? "\"" : "'");

                fprintf(out, "%c%.*s%c", quote, (int) n, word, quote);
                word += n;
        } while (*word);
}

static void print_command(const void *field, FILE *out) {
        char *const *words = *(char *const *const *) field;

        for (size_t i = 0; words[i]; i++) {
                fputs(i > 0 ? " " : "", out);
                print_word(words[i], out);
        }
}

static bool is_command_set(const void *field) {
        return *(char *const *const *) field != NULL;
}

const struct kind value_command = {
        .parse = parse_command,
        .print = print_command,
        .is_set = is_command_set,
        .clear = clear_command,
        .expected = "PROGRAM [ARG...], where quotes group words",
        .has_quotes = true,
};
