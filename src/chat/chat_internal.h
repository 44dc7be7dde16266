/* What the files in C++ of this folder share. */
#ifndef DW_CHAT_INTERNAL_H
#define DW_CHAT_INTERNAL_H

#include <stdexcept>
#include <string>

#include <jinja/runtime.h>

#include "base/status.h"
#include "chat/chat_guard.h"
#include "values/bounds.h"

class common_peg_arena;

namespace dw
{

/* An error with its code. */
struct status_error : std::runtime_error {
    dw_status status;
    status_error(dw_status code, const std::string &why) : std::runtime_error(why), status(code)
    {
    }
};

/* While it lives, grammars that this thread makes hold tools' arguments to their schemas as
 * schema/json_grammar.h does (chat_schema.cpp). */
struct schema_scope {
    explicit schema_scope(struct dw_stop *stop); /* may be NULL: who makes them may leave */
    ~schema_scope();
    schema_scope(const schema_scope &) = delete;
    schema_scope &operator=(const schema_scope &) = delete;
    /* What could not be held to, and why; "": nothing. */
    std::string note() const;
};

/* From here on this thread looks, once in so many characters of an answer that are read, whether it
 * should leave that (answer_watch.cpp): then stop_reached is thrown. */
void answer_watch_begin();

/* The bytes at which text of an answer may end, that is told as it comes (answer_marks.cpp). */
void find_marks(const common_peg_arena &arena, bool (&marks)[256]);

/* What a trial of a template with a few short messages may take. */
jinja_limits trial_limits(size_t stack_bytes);
/* Which forms of messages a template reads (chat_forms.cpp); its trials may take `stack_bytes`. */
void find_forms(const jinja::program &program, size_t stack_bytes, dw_jinja_asks *asks);

} // namespace dw

#endif
