/* SPDX-License-Identifier: MIT */
/* broker/request.c - requests from a session to its broker, and which ones are allowed. */
#include "broker/request.h"

#include <limits.h>
#include <string.h>

#include "broker/lists.h"
#include "smtp/address.h"

/* SMTPD_PEER, SMTPD_PEER_PORT and SMTPD_HOSTNAME are the broker's own. */
const char *const request_variables[REQUEST_VARIABLES] = {
        "SMTPD_ID=",
        "SMTPD_HELO=",
        "SMTPD_PROTOCOL=",
        "SMTPD_MAIL_FROM=",
        "SMTPD_MAIL_OPTIONS=",
        "SMTPD_SIZE=",
        "SMTPD_TLS=",
        "SMTPD_TLS_CIPHER=",
        "SMTPD_TLS_SNI=",
        "SMTPD_TLS_CLIENT_FINGERPRINT=",
        "SMTPD_TLS_CLIENT_VERIFY=",
        "SMTPD_AUTH=",
        "SMTPD_RCPT_TO=",
        "SMTPD_RCPT_OPTIONS=",
};

const char *request_endpoint(const struct services *s, uint32_t index, const char **ret_port) {
        size_t n = s->upstream ? s->upstream->n : 0;

        *ret_port = index == n ? "8024" : s->port ? s->port : "25";
        if (index < n)
                return s->upstream->items[index];
        return index == n ? s->mailman : NULL;
}

static const char *check_run(const struct request *r, const struct services *s) {
        bool is_wrapper = r->index == REQUEST_WRAPPER;

        if (r->index > REQUEST_WRAPPER || (is_wrapper ? !s->wrapper : !s->program))
                return "no such program";
        if (r->milliseconds > INT_MAX)
                return "too much time";
        if (!is_wrapper)
                return NULL;
        if (r->command >= LISTS_COMMANDS)
                return "no such Mailman command";
        if (!lists_is_name(r->list, strnlen(r->list, sizeof(r->list))))
                return "not the name of a list";
        return NULL;
}

static const char *check_connect(const struct request *r, const struct services *s) {
        const char *port;

        if (!request_endpoint(s, r->index, &port))
                return "no such endpoint";
        return r->milliseconds > INT_MAX ? "too much time" : NULL;
}

static const char *check_list(const struct request *r, const struct services *s) {
        if (!s->lists)
                return "no lists are configured";
        return r->index > REQUEST_TO_RUN ? "no such purpose" : NULL;
}

const char *request_check(const struct request *r, const struct services *s) {
        static const uint32_t text_max[] = {
                [REQUEST_RUN] = REQUEST_TEXT_MAX,
                [REQUEST_LIST] = ADDRESS_MAX,
                [REQUEST_TLS] = 0,
                [REQUEST_CANCEL] = 0,
                [REQUEST_PEER] = PEER_TEXT_MAX,
        };

        if (r->kind < REQUEST_RUN || r->kind > REQUEST_PEER)
                return "no such request";
        if (r->n_text > text_max[r->kind])
                return "it is too long";
        if (r->kind == REQUEST_RUN)
                return check_run(r, s);
        if (r->kind == REQUEST_CONNECT)
                return check_connect(r, s);
        if (r->kind == REQUEST_TLS)
                return s->engine ? NULL : "no TLS engine is configured";
        if (r->kind == REQUEST_PEER)
                return s->has_balancer ? NULL : "the peer is already known";
        return r->kind == REQUEST_LIST ? check_list(r, s) : NULL;
}

const char *request_check_variables(const char *text, size_t n) {
        const char *end = text + n;

        for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
                size_t n_name = strlen(request_variables[i]);
                const char *nul = memchr(text, '\0', (size_t) (end - text));

                if (!nul || strncmp(text, request_variables[i], n_name) != 0)
                        return "the variables are not those of a message";
                text = nul + 1;
        }
        return text == end ? NULL : "too many variables";
}
