/* SPDX-License-Identifier: MIT */
/* fuzz/oracle_chunks.c - what a client must believe of the chunks that it sent. RFC 3030. */
#include "oracle_chunks.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool oracle_is_chunk(const char *line, size_t n, const char **ret_args) {
        *ret_args = line + 4;
        return n >= 4 && strncasecmp(line, "BDAT", 4) == 0 &&
               (n == 4 || line[4] == ' ' || strspn(line + 4, " \t") >= n - 4);
}

/* false: nobody knows how long it is. */
static bool read_chunk(const char *args, size_t n, unsigned long long *ret_size,
                       bool *ret_is_last) {
        char text[2100], last[8] = "", more[2] = "";
        int n_words, at = 0;

        while (n > 0 && (args[n - 1] == ' ' || args[n - 1] == '\t'))
                n--;
        if (n >= sizeof(text))
                return false;
        memcpy(text, args, n);
        text[n] = '\0';
        /* Only ' ' is a blank, whatever sscanf() skips. */
        if (strcspn(text, "\t\v\f\r") < n)
                return false;
        n_words = sscanf(text, " %*[0-9]%n", &at);
        if (at == 0 || (text[at] != ' ' && text[at] != '\0') ||
            strspn(text, " ") + 31 < (size_t) at)
                return false;
        n_words = sscanf(text, "%llu %7s %1s", ret_size, last, more);
        *ret_is_last = n_words == 2 && strcasecmp(last, "LAST") == 0;
        return *ret_size <= INT64_MAX && (n_words == 1 || *ret_is_last);
}

/* Lines of what has come so far, and whether a CR or LF stands alone. */
static bool read_chunks(const struct oracle *o, bool is_last, struct text *ret) {
        const char *in = o->chunks.data;
        size_t n = o->chunks.n;

        for (size_t i = 0; i < n; i++) {
                bool is_cr = in[i] == '\r';

                if (is_cr && i + 1 < n ? in[i + 1] != '\n' : is_cr && is_last)
                        return false;
                if (in[i] == '\n' && !(i > 0 && in[i - 1] == '\r') && !o->rules->lf_is_line_end)
                        return false;
                if (!is_cr)
                        text_add(ret, in + i, 1);
        }
        if (is_last && n > 0 && in[n - 1] != '\n')
                text_add(ret, "\n", 1);
        return true;
}

/* A chunk, when all its octets have come. The first may be refused for whatever reason, and none
 * comes after one that is. */
static bool judge_chunk(struct oracle *o, bool is_last) {
        struct text message = { 0 };
        short flaw = read_chunks(o, is_last, &message) ? 0 : 554;
        struct oracle copy = *o;
        bool is_asked = oracle_hear(&copy, SERVER_END), goes_on;
        const struct record *reply = oracle_hear(&copy, SERVER_REPLY);

        must(reply);
        if (is_last &&
            (is_asked || reply->code == 353 || reply->code == 554 || reply->code == 552)) {
                goes_on = oracle_judge_delivery(o, &message, flaw);
                text_clear(&message);
                return goes_on;
        }
        must(!is_asked && oracle_hear(o, SERVER_REPLY));
        if (is_positive(reply)) {
                must(!is_last && !flaw && o->n_recipients > 0);
                must(o->rules->max_size == ORACLE_ANY_SIZE || !oracle_is_too_big(o, &message));
                o->is_in_chunks = true;
        } else {
                must(reply->code != 554 || flaw);
                must(reply->code != 552 || o->rules->max_size == ORACLE_ANY_SIZE ||
                     oracle_is_too_big(o, &message));
                must(reply->code == 554 || reply->code == 552 || reply->code == 421 ||
                     !o->is_in_chunks);
                oracle_end_transaction(o);
        }
        text_clear(&message);
        return !oracle_is_closed(o);
}

bool oracle_judge_bdat(struct oracle *o, const char *args, size_t n) {
        unsigned long long size;
        bool is_last, is_known = read_chunk(args, n, &size, &is_last);
        struct oracle copy = *o;
        bool is_asked = oracle_hear(&copy, SERVER_END);

        if (!is_asked && oracle_is_closed_next(o)) {
                const struct record *reply = oracle_hear(o, SERVER_REPLY);

                must(reply->code == 421 || (reply->code == 501 && !is_known) ||
                     (reply->code == 500 && n > 2000) ||
                     (reply->code == 554 && o->is_data_refused));
                return false;
        }
        must(is_known && !o->is_data_refused);
        if (size > o->n - o->at) {
                oracle_hear_nothing(o);
                o->record = o->log->n;
                return false;
        }
        if (!o->is_in_chunks)
                text_clear(&o->chunks);
        text_add(&o->chunks, o->in + o->at, (size_t) size);
        o->at += (size_t) size;
        return judge_chunk(o, is_last);
}
