#include "base/ggml_log.h"

#include <llama.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/ggml_guard.h"
#include "base/log.h"

typedef struct log_callback {
    ggml_log_callback call;
    void *user;
} log_callback;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock: the embedder's, NULL where there was only the library's own, which prints. */
static log_callback before_ggml;
static log_callback before_llama;
/* The libraries' own, as they are before main. */
static ggml_log_callback own_ggml;
static ggml_log_callback own_llama;

static _Thread_local char first_error[160];
/* One that was set after ours may itself pass lines on to ours. */
static _Thread_local bool passing_on;

__attribute__((constructor)) static void note_own_callbacks(void)
{
    void *user;
    ggml_log_get(&own_ggml, &user);
    llama_log_get(&own_llama, &user);
}

/* The first line is the cause, later ones say that the load failed. */
static void note_error(const char *text)
{
    static const char prefix[] = "error loading model: ";
    if (first_error[0] != '\0') {
        return;
    }
    const char *cause = strstr(text, prefix);
    cause = cause != NULL ? cause + strlen(prefix) : text;
    (void)snprintf(first_error, sizeof first_error, "%.*s", (int)strcspn(cause, "\n"), cause);
}

static void pass_on(const log_callback *before, enum ggml_log_level level, const char *text)
{
    (void)pthread_mutex_lock(&lock);
    log_callback to = *before;
    (void)pthread_mutex_unlock(&lock);
    if (to.call != NULL) {
        passing_on = true;
        to.call(level, text, to.user);
        passing_on = false;
    }
}

static void log_line(enum ggml_log_level level, dw_log_level warning, const char *text)
{
    int length = (int)strcspn(text, "\n");
    dw_log_level own = level == GGML_LOG_LEVEL_ERROR  ? DW_LOG_ERROR
                       : level == GGML_LOG_LEVEL_WARN ? warning
                                                      : DW_LOG_DEBUG;
    dw_ggml_note_error(level, text);
    if (level == GGML_LOG_LEVEL_ERROR) {
        note_error(text);
    }
    if (length > 0) {
        dw_log(own, "%.*s", length, text);
    }
}

static void on_ggml(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (passing_on) {
        return;
    }
    log_line(level, DW_LOG_WARN, text);
    pass_on(&before_ggml, level, text);
}

/* Its warnings are about vocabularies, and say what it does about it. */
static void on_llama(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (passing_on) {
        return;
    }
    log_line(level, DW_LOG_INFO, text);
    pass_on(&before_llama, level, text);
}

static bool is_ours(ggml_log_callback call)
{
    return call == on_ggml || call == on_llama;
}

/* libllama answers with ggml's callback where nobody has set its own. */
void dw_ggml_log_take(void)
{
    log_callback ggml;
    log_callback llama;
    (void)pthread_mutex_lock(&lock);
    ggml_log_get(&ggml.call, &ggml.user);
    llama_log_get(&llama.call, &llama.user);
    if (!is_ours(llama.call)) {
        before_llama = llama.call != own_llama ? llama : (log_callback){NULL, NULL};
    }
    if (!is_ours(ggml.call)) {
        before_ggml = ggml.call != own_ggml ? ggml : (log_callback){NULL, NULL};
    }
    llama_log_set(on_llama, NULL); /* this sets ggml's as well */
    ggml_log_set(on_ggml, NULL);
    (void)pthread_mutex_unlock(&lock);
}

void dw_ggml_log_error(char *text, size_t capacity)
{
    if (text == NULL) {
        first_error[0] = '\0';
        return;
    }
    (void)snprintf(text, capacity, "%s", first_error);
}
