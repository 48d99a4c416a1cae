/* smtp/offer.c - what the server can do, and what its session is called: with TLS, and without. */
#include <assert.h>
#include <string.h>

#include "smtp/server_internal.h"

const char *server_protocol(const struct server *s) {
        static const char *const plain[] = { "SMTP", "ESMTP", "UTF8SMTP", "LMTP", "UTF8LMTP" };
        static const char *const secure[] = { "SMTP", "ESMTPS", "UTF8SMTPS", "LMTPS", "UTF8LMTPS" };
        unsigned word = s->rules.is_lmtp ? 3 + s->is_smtputf8
                        : s->is_smtputf8 ? 2
                                         : s->is_extended;

        return (s->is_secure ? secure : plain)[word];
}

void server_offer(struct server *s, unsigned extensions, uint64_t max_size) {
        bool is_tls_offered = s->rules.tls != SERVER_NO_TLS && !s->is_secure;

        assert(s->question == SERVER_HELLO);
        s->question = SERVER_MORE;
        strcpy(s->helo, s->hello.name);
        s->is_extended = s->hello.is_extended;
        server_end_transaction(s);
        s->done = HELLO;
        s->rules.extensions = extensions;
        s->rules.max_size = max_size;
        if (s->is_extended)
                reply_set(&s->reply, 250, "", "%s\nPIPELINING\nSIZE %llu%s%s%s%s\nHELP",
                          s->rules.hostname, (unsigned long long) max_size,
                          extensions & EXTENSION_8BITMIME ? "\n8BITMIME" : "",
                          extensions & EXTENSION_SMTPUTF8 ? "\nSMTPUTF8" : "",
                          extensions & EXTENSION_ENHANCEDSTATUSCODES ? "\nENHANCEDSTATUSCODES" : "",
                          is_tls_offered ? "\nSTARTTLS" : "");
        else
                reply_set(&s->reply, 250, "", "%s", s->rules.hostname);
        server_emit(s, SERVER_REPLY);
}

/* Whoever could start TLS again and again to begin to count anew would have no limits. */
void server_secured(struct server *s) {
        struct server was = *s;

        assert(s->question == SERVER_SECURE || s->phase == SERVER_GREETING);
        server_init(s, &was.rules);
        s->is_secure = true;
        s->phase = was.phase;
        s->n_commands = was.n_commands;
        s->n_errors = was.n_errors;
        s->n_idle_commands = was.n_idle_commands;
        s->n_idle_errors = was.n_idle_errors;
}
