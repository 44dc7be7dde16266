/* driftwood chat whose conversation is an actor: of the server that works in the state folder, with
 * a model that it has, or of the folder itself. Each line is a message to the guest `chat`. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chat_actor.h"
#include "cli/link.h"
#include "cli/remote.h"

/* A signal handler has no argument of its own. */
static volatile sig_atomic_t interrupted;

static void on_sigint(int number)
{
    (void)number;
    interrupted++;
    if (interrupted >= 3) { /* nobody answers */
        (void)signal(SIGINT, SIG_DFL);
        (void)raise(SIGINT);
    }
}

typedef struct talk {
    dw_cli_actors actors;
    char id[DW_ACTOR_ID_CHARS + 1];
    bool made;      /* by this chat */
    bool said;      /* something was sent */
    char last;      /* of the answer; 0: nothing came */
    bool cancelled; /* the message under way was */
} talk;

/* The server is told to let the answer be; what comes of it has its end then. */
static void cancel(talk *t)
{
    char path[160];
    dw_error error;
    dw_cli_remote other = *t->actors.remote;
    if (t->cancelled || other.message == 0) {
        return;
    }
    other.on_signal = NULL;
    t->cancelled = true;
    (void)snprintf(path, sizeof path, "/v1/actors/%s/messages/%llu/cancel", t->id,
                   (unsigned long long)other.message);
    (void)!dw_cli_remote_call(&other, "POST", path, NULL, NULL, &error);
}

static void on_signal(void *user)
{
    if (interrupted > 0) {
        cancel(user);
    }
}

static ptrdiff_t on_answer(void *user, const unsigned char *bytes, size_t count)
{
    talk *t = user;
    if (interrupted > 0 && t->actors.remote != NULL) {
        cancel(t);
    }
    if (count > 0 && !t->cancelled) {
        dw_cli_put((const char *)bytes, count);
        t->last = (char)bytes[count - 1];
    }
    return dw_cli_output_flush() ? (ptrdiff_t)count : -1;
}

/* Errors: what the message ended with, but for a cancellation. */
static dw_status say(talk *t, const char *line, size_t length, dw_error *err)
{
    const dw_request message = {.struct_bytes = sizeof message,
                                .message = line,
                                .message_bytes = length,
                                .on_answer = on_answer,
                                .user = t};
    const struct sigaction action = {.sa_handler = on_sigint}; /* it breaks recv off */
    struct sigaction before;
    bool catches = t->actors.remote != NULL && sigaction(SIGINT, &action, &before) == 0;
    interrupted = 0;
    t->last = '\0';
    t->cancelled = false;
    t->said = true;
    if (t->actors.remote != NULL) {
        t->actors.remote->message = 0;
        t->actors.remote->on_signal = on_signal;
        t->actors.remote->user = t;
    }
    dw_status status = dw_cli_at_call(&t->actors, t->id, &message, err);
    (void)!dw_cli_at_work(&t->actors, DW_WORK_TURN, NULL);
    if (catches) {
        (void)sigaction(SIGINT, &before, NULL);
    }
    if (t->last != '\n') {
        dw_cli_print("\n");
    }
    (void)dw_cli_output_flush();
    return t->cancelled ? DW_OK : status;
}

static dw_status begin(talk *t, dw_cli_session *session, dw_error *err)
{
    const dw_cli_terms terms = {.tenant = NULL};
    if (t->id[0] != '\0') {
        return DW_OK;
    }
    dw_status status = dw_cli_actors_spawn(&t->actors, session, &terms, t->id, err);
    t->made = status == DW_OK;
    return status;
}

static dw_status go_on(talk *t, dw_cli_session *session, const dw_cli_chat_source *source,
                       dw_error *err)
{
    char *line = NULL;
    size_t length = 0;
    dw_status status = DW_OK;
    while (status == DW_OK && source->read(source->user, &line, &length)) {
        if (length > 0) {
            status = begin(t, session, err);
        }
        if (length > 0 && status == DW_OK) {
            status = say(t, line, length, err);
        }
        free(line);
    }
    return status;
}

bool dw_cli_chat_server(const char *state)
{
    dw_cli_remote remote = {.path = ""};
    char *folder = NULL;
    bool found =
        dw_cli_state_folder(state, &folder, NULL) == DW_OK && dw_cli_remote_find(&remote, folder);
    free(folder);
    return found;
}

static void tell_end(const talk *t)
{
    dw_error error;
    if (t->made && t->said) {
        dw_cli_note("the conversation is actor %s: `driftwood chat --actor %s` goes on with it",
                    t->id, t->id);
    } else if (t->made) {
        (void)!dw_cli_at_stop((dw_cli_actors *)(uintptr_t)&t->actors, t->id, &error);
    }
}

int dw_cli_chat_with_actor(dw_cli_session *session, const dw_cli_chat_where *where,
                           const dw_cli_chat_source *source)
{
    talk *t = dw_cli_alloc(1, sizeof *t);
    dw_error error;
    dw_error late;
    const dw_cli_terms terms = {.tenant = NULL};
    const dw_cli_seeing seeing = {.log = NULL};
    if (t == NULL) {
        return dw_cli_fail(1, "no memory");
    }
    const dw_cli_opening how = {
        .state = where->state, .session = session, .terms = &terms, .seeing = &seeing};
    dw_status status = dw_cli_actors_open(&t->actors, &how, &error);
    if (status == DW_OK && where->actor != NULL) {
        status = dw_cli_actors_find(&t->actors, where->actor, t->id, &error);
    }
    if (status == DW_OK) {
        status = go_on(t, session, source, &error);
    }
    tell_end(t);
    if (dw_cli_actors_close(&t->actors, &late) != DW_OK && status == DW_OK) {
        status = dw_fail(&error, late.code, "%s", late.message);
    }
    free(t);
    return status == DW_OK ? 0 : dw_cli_fail_with(&error);
}
