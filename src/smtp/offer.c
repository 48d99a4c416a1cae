/* SPDX-License-Identifier: MIT */
/* smtp/offer.c - what the server can do, and what its session is called. */
#include <assert.h>
#include <string.h>

#include "base/text.h"
#include "smtp/server_internal.h"

const char *server_protocol(const struct server *s) {
        static const char *const words[][4] = {
                { "SMTP", "SMTP", "SMTP", "SMTP" },
                { "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" },
                { "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" },
                { "LMTP", "LMTPS", "LMTPA", "LMTPSA" },
                { "UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA" },
        };
        unsigned word = s->rules.is_lmtp ? 3 + s->is_smtputf8 : s->is_smtputf8 ? 2 : s->is_extended;

        return words[word][s->is_secure + 2 * (*s->authenticated != '\0')];
}

/* In clear they are offered to nobody who would have to keep a secret. */
static void offer_mechanisms(struct server *s, const char *mechanisms) {
        bool is_allowed = s->rules.auth != SERVER_NO_AUTH &&
                          (s->is_secure || (s->rules.auth != SERVER_AUTH_NEEDS_TLS &&
                                            s->rules.tls != SERVER_TLS_REQUIRED));

        text_format(s->mechanisms, sizeof(s->mechanisms), "%s",
                    is_allowed && s->is_extended ? mechanisms : "");
}

enum { LIMIT_MAX = 999999 }; /* RFC 9422: six digits */

/* What EHLO is answered with. */
static void set_offer(struct server *s, bool is_split) {
        const struct server_rules *r = &s->rules;
        unsigned max = is_split ? 1 : LIMIT_MAX;
        unsigned n = r->max_recipients < max ? r->max_recipients : max;
        bool is_tls_offered = r->tls != SERVER_NO_TLS && !s->is_secure;

        reply_set(&s->reply, 250, "",
                  "%s\nPIPELINING\nSIZE %llu\nLIMITS RCPTMAX=%u\nCHUNKING%s%s%s%s%s%s%s%s\nHELP",
                  r->hostname, (unsigned long long) r->max_size, n,
                  r->extensions & EXTENSION_8BITMIME ? "\n8BITMIME" : "",
                  r->extensions & EXTENSION_SMTPUTF8 ? "\nSMTPUTF8" : "",
                  r->extensions & EXTENSION_ENHANCEDSTATUSCODES ? "\nENHANCEDSTATUSCODES" : "",
                  r->extensions & EXTENSION_DSN ? "\nDSN" : "",
                  r->extensions & EXTENSION_PRDR ? "\nPRDR" : "",
                  is_tls_offered ? "\nSTARTTLS" : "", *s->mechanisms ? "\nAUTH " : "",
                  s->mechanisms);
}

void server_offer(struct server *s, const struct offer *o, const char *mechanisms) {
        assert(s->question == SERVER_HELLO);
        s->question = SERVER_MORE;
        strcpy(s->helo, s->hello.name);
        s->is_extended = s->hello.is_extended;
        server_end_transaction(s);
        s->done = HELLO;
        s->rules.extensions = o->extensions;
        if (s->rules.is_lmtp)
                s->rules.extensions &= ~(unsigned) EXTENSION_PRDR;
        s->rules.max_size = o->max_size;
        s->rules.max_recipients = o->max_recipients;
        offer_mechanisms(s, mechanisms);
        if (s->is_extended)
                set_offer(s, o->is_split);
        else
                reply_set(&s->reply, 250, "", "%s", s->rules.hostname);
        server_emit(s, SERVER_REPLY);
}

/* Whoever could start TLS again and again to begin to count anew would have no limits. */
void server_secured(struct server *s) {
        const struct server_rules rules = s->rules;
        unsigned n_commands = s->n_commands, n_errors = s->n_errors;
        unsigned n_idle_commands = s->n_idle_commands, n_idle_errors = s->n_idle_errors;
        unsigned n_auth_refusals = s->n_auth_refusals;
        bool is_greeting = s->phase == SERVER_GREETING;

        assert(s->question == SERVER_SECURE || is_greeting);
        server_init(s, &rules);
        s->is_secure = true;
        s->phase = is_greeting ? SERVER_GREETING : SERVER_COMMANDS;
        s->n_commands = n_commands;
        s->n_errors = n_errors;
        s->n_idle_commands = n_idle_commands;
        s->n_idle_errors = n_idle_errors;
        s->n_auth_refusals = n_auth_refusals;
}
