/* How much a template may do (C++). Thread: its own. */
#ifndef DW_VALUES_BOUNDS_H
#define DW_VALUES_BOUNDS_H

#include <jinja/runtime.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace dw
{

/* What one use of templates may take. A use that goes beyond throws limit_reached. */
struct jinja_limits {
    uint64_t steps = 20u << 20;         /* nodes executed */
    uint64_t bytes = 2048ull << 20;     /* of all values made, one after another */
    uint64_t value_bytes = 64u << 20;   /* of one value */
    uint64_t milliseconds = 5000;       /* monotonic */
    size_t stack_bytes = 0;             /* that the thread has below the scope */
    bool (*asks)(void *stop) = nullptr; /* whether it should be left */
    void *stop = nullptr;
};

/* An error that the engine hands on as it is. */
struct limit_reached : jinja::rethrown_exception {
    using jinja::rethrown_exception::rethrown_exception;
};

/* It was asked to stop. */
struct stop_reached : jinja::rethrown_exception {
    using jinja::rethrown_exception::rethrown_exception;
};

struct memory_reached : jinja::rethrown_exception {
    using jinja::rethrown_exception::rethrown_exception;
};

/* "line 3, column 5: why" */
struct placed_error : jinja::rethrown_exception {
    using jinja::rethrown_exception::rethrown_exception;
};

std::string place_of(std::string_view source, size_t at);

/* Bounds what this thread does with templates until the scope ends. */
class jinja_scope
{
  public:
    explicit jinja_scope(const jinja_limits &limits);
    ~jinja_scope();
    jinja_scope(const jinja_scope &) = delete;
    jinja_scope &operator=(const jinja_scope &) = delete;

  private:
    void *outer;
    void *state;
};

/* One node executed, one level of a value walked. */
void jinja_step();
/* A value of `bytes` was made, or will be. */
void jinja_charge(uint64_t bytes);
/* A value of `before` bytes grows. */
void jinja_grow(uint64_t before, uint64_t bytes);
/* `bytes` are looked at. */
void jinja_work(uint64_t bytes);
/* Before `one` x `other` bytes are made. */
void jinja_charge_product(uint64_t one, uint64_t other);

} // namespace dw

#endif
