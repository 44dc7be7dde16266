#define CURL_DISABLE_TYPECHECK /* its macros know functions by their own names alone */
#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/fetch.h"
#include "cli/late.h"

#define REDIRECTS_MAX 10L
#define STALLED_S 60L

typedef struct transfer {
    const dw_cli_fetch *what;
    dw_cli_fetched *result;
    CURL *curl;
    bool is_body; /* of the last answer, not of a redirect */
    bool refused; /* on_bytes said so */
    bool left;    /* is_left did */
    struct curl_slist *headers;
} transfer;

bool dw_cli_can_fetch(void)
{
    return true;
}

/* ---- the library --------------------------------------------------------------------------- */

#define FUNCTIONS(X)                                                                               \
    X(init, curl_easy_init)                                                                        \
    X(setopt, curl_easy_setopt)                                                                    \
    X(perform, curl_easy_perform)                                                                  \
    X(getinfo, curl_easy_getinfo)                                                                  \
    X(cleanup, curl_easy_cleanup)                                                                  \
    X(why, curl_easy_strerror)                                                                     \
    X(append, curl_slist_append)                                                                   \
    X(free_all, curl_slist_free_all)

/* Written once, by find_library. */
static struct {
#define FIELD(field, function) __typeof__(&(function)) field;
    FUNCTIONS(FIELD)
#undef FIELD
    dw_status status;
    dw_error error;
} curl;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#ifdef DW_CLI_CURL /* its name; otherwise it is linked */
static void find_library(void)
{
#define PLACE(field, function) {#function, &curl.field},
    const dw_cli_late_function functions[] = {FUNCTIONS(PLACE)};
#undef PLACE
    curl.status = dw_cli_late_find(DW_CLI_CURL, "nothing can be fetched without libcurl", functions,
                                   sizeof functions / sizeof functions[0], &curl.error);
}
#else
static void find_library(void)
{
#define SET(field, function) curl.field = function;
    FUNCTIONS(SET)
#undef SET
}
#endif

/* ---- what comes ---------------------------------------------------------------------------- */

/* "\"HEX\"" of 64 digits. */
static void take_hash(dw_cli_fetched *result, const char *value, size_t length)
{
    const char *quote = memchr(value, '"', length);
    size_t left = quote != NULL ? length - (size_t)(quote + 1 - value) : 0;
    if (left >= 65 && quote[65] == '"' && strspn(quote + 1, "0123456789abcdef") == 64) {
        memcpy(result->sha256, quote + 1, 64);
        result->sha256[64] = '\0';
    }
}

/* "<URL>; rel=\"next\"" */
static void take_next(dw_cli_fetched *result, const char *value, size_t length)
{
    char text[1280];
    (void)snprintf(text, sizeof text, "%.*s", (int)(length < 1200 ? length : 1200), value);
    char *begin = strchr(text, '<');
    char *end = begin != NULL ? strchr(begin, '>') : NULL;
    if (end != NULL && strstr(end, "rel=\"next\"") != NULL) {
        *end = '\0';
        (void)snprintf(result->next, sizeof result->next, "%.1023s", begin + 1);
    }
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
    static const char etag[] = "x-linked-etag:";
    static const char link[] = "link:";
    transfer *t = user;
    size_t bytes = size * count;
    if (bytes > sizeof etag && strncasecmp(line, etag, sizeof etag - 1) == 0) {
        take_hash(t->result, line + sizeof etag - 1, bytes - (sizeof etag - 1));
    } else if (bytes > sizeof link && strncasecmp(line, link, sizeof link - 1) == 0) {
        take_next(t->result, line + sizeof link - 1, bytes - (sizeof link - 1));
    }
    return bytes;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    transfer *t = user;
    long status = 0;
    size_t length = size * count;
    (void)curl.getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206) {
        return length; /* what a failure says of itself */
    }
    uint64_t first = status == 206 ? t->what->from : 0;
    if (t->what->on_bytes(t->what->user, first, (const unsigned char *)bytes, length) < 0) {
        t->refused = true;
        return 0;
    }
    return length;
}

static int on_progress(void *user, curl_off_t total, curl_off_t done, curl_off_t up_total,
                       curl_off_t up)
{
    transfer *t = user;
    (void)up_total;
    (void)up;
    if (t->what->on_progress != NULL) {
        uint64_t from = t->what->from;
        t->what->on_progress(t->what->user, from + (uint64_t)done,
                             total > 0 ? from + (uint64_t)total : 0);
    }
    t->left = t->what->is_left != NULL && t->what->is_left(t->what->user);
    return t->left;
}

static void set_up(transfer *t, char *problem)
{
    CURL *to = t->curl;
    (void)curl.setopt(to, CURLOPT_URL, t->what->url);
    (void)curl.setopt(to, CURLOPT_ERRORBUFFER, problem);
    (void)curl.setopt(to, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl.setopt(to, CURLOPT_REDIR_PROTOCOLS_STR,
                      strncmp(t->what->url, "https:", 6) == 0 ? "https" : "http,https");
    (void)curl.setopt(to, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl.setopt(to, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
    (void)curl.setopt(to, CURLOPT_USERAGENT, "driftwood/" DW_VERSION);
    (void)curl.setopt(to, CURLOPT_NOSIGNAL, 1L);
    (void)curl.setopt(to, CURLOPT_CONNECTTIMEOUT, 30L);
    (void)curl.setopt(to, CURLOPT_LOW_SPEED_LIMIT, 1L); /* nothing for a minute ends it */
    (void)curl.setopt(to, CURLOPT_LOW_SPEED_TIME, STALLED_S);
    (void)curl.setopt(to, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl.setopt(to, CURLOPT_HEADERDATA, t);
    (void)curl.setopt(to, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl.setopt(to, CURLOPT_WRITEDATA, t);
    (void)curl.setopt(to, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl.setopt(to, CURLOPT_XFERINFODATA, t);
    (void)curl.setopt(to, CURLOPT_NOPROGRESS, 0L);
    if (t->what->token != NULL) { /* libcurl gives it to no other host (UNRESTRICTED_AUTH is off) */
        (void)curl.setopt(to, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        (void)curl.setopt(to, CURLOPT_XOAUTH2_BEARER, t->what->token);
    }
    if (t->what->body != NULL) {
        t->headers = curl.append(NULL, "Content-Type: application/octet-stream");
        (void)curl.setopt(to, CURLOPT_HTTPHEADER, t->headers);
        (void)curl.setopt(to, CURLOPT_FOLLOWLOCATION, 0L);
        (void)curl.setopt(to, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->what->body_bytes);
        (void)curl.setopt(to, CURLOPT_POSTFIELDS, t->what->body);
    }
    if (t->what->from > 0) {
        (void)curl.setopt(to, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)t->what->from);
    }
}

static dw_status judge(const transfer *t, CURLcode code, const char *problem, dw_error *err)
{
    const char *url = t->what->url;
    long status = t->result->status;
    if (t->left) {
        return dw_fail(err, DW_E_CANCELLED, "%.150s: left", url);
    }
    if (status == 401 || status == 403) {
        return dw_fail(err, DW_E_DENIED, "%.150s: refused (%ld)%s", url, status,
                       t->what->body == NULL ? "; HF_TOKEN is for what is not public" : "");
    }
    if (status == 404) {
        return dw_fail(err, DW_E_NOT_FOUND, "%.150s: there is no such thing", url);
    }
    if (status == 416) { /* it has no more than what is here */
        return DW_OK;
    }
    if (code == CURLE_RANGE_ERROR && !t->refused) {
        return dw_fail(err, DW_E_RANGE, "%.150s: it gives no parts", url);
    }
    if (code != CURLE_OK) {
        return dw_fail(err, DW_E_IO, "%.120s: %.100s", url,
                       t->refused           ? "it could not be kept"
                       : problem[0] != '\0' ? problem
                                            : curl.why(code));
    }
    return status == 200 || status == 206
               ? DW_OK
               : dw_fail(err, DW_E_IO, "%.150s: answered %ld", url, status);
}

dw_status dw_cli_fetch_url(const dw_cli_fetch *what, dw_cli_fetched *result, dw_error *err)
{
    char problem[CURL_ERROR_SIZE] = "";
    *result = (dw_cli_fetched){.status = 0};
    (void)pthread_once(&once, find_library);
    if (curl.status != DW_OK) {
        return dw_fail(err, curl.status, "%.80s: %.160s", what->url, curl.error.message);
    }
    transfer t = {.what = what, .result = result, .curl = curl.init()};
    if (t.curl == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a transfer");
    }
    set_up(&t, problem);
    CURLcode code = curl.perform(t.curl);
    (void)curl.getinfo(t.curl, CURLINFO_RESPONSE_CODE, &result->status);
    curl.cleanup(t.curl);
    curl.free_all(t.headers);
    return judge(&t, code, problem, err);
}
