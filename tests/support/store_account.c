#include "store_account.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"

static const char *folder; /* what is looked at */

void shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(length > 0 && (size_t)length < sizeof command);
    assert_int_equal(system(command), 0);
}

name_list listed(const char *format, ...)
{
    char path[512];
    name_list list = {.count = 0};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    DIR *names = opendir(path);
    for (struct dirent *entry = NULL; names != NULL && (entry = readdir(names)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            assert_true(list.count < 64);
            (void)snprintf(list.names[list.count++], 256, "%s", entry->d_name);
        }
    }
    if (names != NULL) {
        (void)closedir(names);
    }
    return list;
}

bool path_exists(const char *format, ...)
{
    char path[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return access(path, F_OK) == 0;
}

typedef struct state {
    unsigned long long sequence;
    unsigned long long done;
    bool pending;
    int full;
    int count;
    unsigned long long first;
} state;

static bool is_pending(const char *id);

/* One full snapshot, the deltas upon it, and the mail. */
static state account_for_actor(const char *id, int at)
{
    state s = {.first = ~0ull};
    name_list names = listed("%s/actors/%s", folder, id);
    for (size_t i = 0; i < names.count; i++) {
        unsigned long long sequence = 0;
        unsigned long long done = 0;
        char kind[64] = "";
        if (strcmp(names.names[i], "mail") == 0 ||
            strncmp(names.names[i], ".descent-00-", 12) == 0) {
            continue;
        }
        if (sscanf(names.names[i], "%llu-%llu.%63s", &sequence, &done, kind) != 3 ||
            strstr(kind, ".snapshot") == NULL || strstr(kind, "tmp") != NULL) {
            fail_msg("operation %d: %s/%s belongs to nothing", at, id, names.names[i]);
        }
        bool full = strstr(kind, "full") != NULL;
        s.full += full;
        s.count++;
        s.first = sequence < s.first ? sequence : s.first;
        if (full && sequence != s.first) {
            fail_msg("operation %d: %s: what is before %s is outdated", at, id, names.names[i]);
        }
        if (sequence >= s.sequence) {
            s.sequence = sequence;
            s.done = done;
            s.pending = strstr(kind, "pending-") != NULL;
        }
    }
    if (s.full != 1 || s.sequence - s.first + 1 != (unsigned long long)s.count) {
        fail_msg("operation %d: %s: %d full snapshots, %d files from %llu to %llu", at, id, s.full,
                 s.count, s.first, s.sequence);
    }
    return s;
}

static bool is_pending(const char *id)
{
    return path_exists("%s/actors/%s", folder, id) && account_for_actor(id, -1).pending;
}

static bool any_aside(const name_list *names, unsigned long long number)
{
    char start[32];
    (void)snprintf(start, sizeof start, "aside-%012llu-", number);
    for (size_t i = 0; i < names->count; i++) {
        if (strncmp(names->names[i], start, strlen(start)) == 0) {
            return true;
        }
    }
    return false;
}

static void account_for_mail(const char *id, const state *s, int at)
{
    name_list names = listed("%s/actors/%s/mail", folder, id);
    for (size_t i = 0; i < names.count; i++) {
        unsigned long long number = 0;
        char from[17] = "";
        unsigned long long effect = 0;
        if (strcmp(names.names[i], ".newest") == 0 || strcmp(names.names[i], ".attempts") == 0) {
            continue;
        }
        if (sscanf(names.names[i], "aside-%llu-%16[0-9a-f]-%16llx", &number, from, &effect) == 3) {
            if (!path_exists("%s/actors/%s/mail/.aside-%012llu", folder, id, number)) {
                fail_msg("operation %d: nothing tells why of %s", at, names.names[i]);
            }
            continue;
        }
        if (sscanf(names.names[i], ".aside-%llu", &number) == 1) {
            if (!any_aside(&names, number)) {
                fail_msg("operation %d: %s/mail/%s belongs to nothing", at, id, names.names[i]);
            }
            continue;
        }
        bool good =
            sscanf(names.names[i], "%llu-%16[0-9a-f]-%16llx", &number, from, &effect) == 3 &&
            strstr(names.names[i], ".part") == NULL;
        if (!good || (number <= s->done && !is_pending(from))) {
            fail_msg("operation %d: %s/mail/%s belongs to nothing", at, id, names.names[i]);
        }
    }
}

static void account_for_modules(int at)
{
    name_list names = listed("%s/modules", folder);
    for (size_t i = 0; i < names.count; i++) {
        char *name = names.names[i];
        if (strcmp(name, ".users") == 0) {
            continue;
        }
        if (strlen(name) != 69 || strcmp(name + 64, ".wasm") != 0) {
            fail_msg("operation %d: modules/%s belongs to nothing", at, name);
        }
        name_list users = listed("%s/modules/.users/%.64s", folder, name);
        if (users.count == 0) {
            fail_msg("operation %d: nobody uses modules/%s", at, name);
        }
    }
    names = listed("%s/modules/.users", folder);
    for (size_t i = 0; i < names.count; i++) {
        name_list users = listed("%s/modules/.users/%s", folder, names.names[i]);
        if (!path_exists("%s/modules/%s.wasm", folder, names.names[i])) {
            fail_msg("operation %d: module %s is gone, %zu use it", at, names.names[i],
                     users.count);
        }
        for (size_t k = 0; k < users.count; k++) {
            if (!path_exists("%s/actors/%s", folder, users.names[k])) {
                fail_msg("operation %d: %s uses a module and is none", at, users.names[k]);
            }
        }
    }
}

void account_for_all(const char *path, int at)
{
    folder = path;
    name_list names = listed("%s", folder);
    for (size_t i = 0; i < names.count; i++) {
        if (strcmp(names.names[i], "actors") != 0 && strcmp(names.names[i], "lock") != 0 &&
            strcmp(names.names[i], "modules") != 0 && strcmp(names.names[i], ".tmp-work") != 0) {
            fail_msg("operation %d: %s belongs to nothing", at, names.names[i]);
        }
    }
    names = listed("%s/actors", folder);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        unsigned long long number;
        char from[17] = "";
        if (sscanf(name, ".delivered-%*16[0-9a-f]-%llu-%16[0-9a-f]", &number, from) == 2 &&
            is_pending(from)) {
            continue;
        }
        if (strlen(name) != DW_ACTOR_ID_CHARS) {
            fail_msg("operation %d: actors/%s belongs to nothing", at, name);
        }
        state s = account_for_actor(name, at);
        account_for_mail(name, &s, at);
    }
    account_for_modules(at);
}
