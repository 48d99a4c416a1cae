/* SPDX-License-Identifier: MIT */
/* smtp/login.c - AUTH that accepts every login. */
#include "smtp/login.h"

#include <string.h>

#include "base/ascii.h"

/* "Username:" and "Password:" */
#define USERNAME "VXNlcm5hbWU6"
#define PASSWORD "UGFzc3dvcmQ6"

static const struct fixed_reply welcome = { 235, "2.7.0", "accepted without verification" };
static const struct fixed_reply go_on = { 334, "", "" };
static const struct fixed_reply given_up = { 501, "5.7.0", "authentication cancelled" };
static const struct fixed_reply malformed = { 501, "5.5.2",
                                              "the response has no name, or is malformed" };

static void refuse(struct login *l, const struct fixed_reply *why, struct reply *ret) {
        l->state = LOGIN_IDLE;
        *l->name = '\0';
        reply_fix(ret, why);
}

static void ask(struct login *l, enum login_state state, const char *challenge,
                struct challenge *ret_challenge, struct reply *ret) {
        l->state = state;
        ret_challenge->n = strlen(challenge);
        memcpy(ret_challenge->text, challenge, ret_challenge->n);
        reply_fix(ret, &go_on);
}

static void accept(struct login *l, struct reply *ret) {
        l->state = LOGIN_IDLE;
        reply_fix(ret, &welcome);
}

static bool take_name(struct login *l, const char *name, size_t n) {
        if (n == 0 || n > LOGIN_USER_MAX || memchr(name, '\0', n))
                return false;
        memcpy(l->name, name, n);
        l->name[n] = '\0';
        return true;
}

/* [authzid] NUL authcid NUL passwd */
static bool take_plain(struct login *l, const char *message, size_t n) {
        const char *end = message + n, *name = memchr(message, '\0', n), *password;

        password = name ? memchr(name + 1, '\0', (size_t) (end - name) - 1) : NULL;
        return password && !memchr(password + 1, '\0', (size_t) (end - password) - 1) &&
               take_name(l, name + 1, (size_t) (password - name) - 1);
}

/* A decoded response, or the name with which LOGIN may begin. */
static void take_response(struct login *l, const char *response, size_t n,
                          struct challenge *ret_challenge, struct reply *ret) {
        if (l->state == LOGIN_AT_PASSWORD ||
            (l->state == LOGIN_IN_PLAIN && take_plain(l, response, n)))
                accept(l, ret);
        else if (l->state == LOGIN_AT_NAME && take_name(l, response, n))
                ask(l, LOGIN_AT_PASSWORD, PASSWORD, ret_challenge, ret);
        else
                refuse(l, &malformed, ret);
}

static void decode_response(struct login *l, const char *response, size_t n,
                            struct challenge *ret_challenge, struct reply *ret) {
        char decoded[AUTH_LINE_MAX];
        size_t n_decoded = auth_decode(response, n, decoded);

        take_response(l, decoded, n_decoded, ret_challenge, ret);
        explicit_bzero(decoded, sizeof(decoded));
}

/* "AUTH PLAIN", "AUTH LOGIN", maybe with an initial response, of nothing if it is "=". */
static void begin(struct login *l, const char *line, size_t n, struct challenge *ret_challenge,
                  struct reply *ret) {
        static const char plain[] = "AUTH PLAIN";
        size_t n_verb = sizeof(plain) - 1; /* "AUTH LOGIN" is as long */
        bool is_plain = ascii_is_equal(line, plain, n_verb);

        l->state = is_plain ? LOGIN_IN_PLAIN : LOGIN_AT_NAME;
        if (n > n_verb)
                decode_response(l, line + n_verb + 1, n - n_verb - 1, ret_challenge, ret);
        else
                ask(l, l->state, is_plain ? "" : USERNAME, ret_challenge, ret);
}

void login_step(struct login *l, const char *line, size_t n, struct challenge *ret_challenge,
                struct reply *ret) {
        if (l->state == LOGIN_IDLE)
                begin(l, line, n, ret_challenge, ret);
        else if (n == 1 && *line == '*')
                refuse(l, &given_up, ret);
        else
                decode_response(l, line, n, ret_challenge, ret);
}
