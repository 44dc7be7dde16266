/* How much a template may do. The engine has no such notion: programs call back here, from the
 * nodes that jinja_program.cpp puts into them. */
#include "chat/jinja_internal.h"

#include <chrono>

namespace dw
{
namespace
{

using clock = std::chrono::steady_clock;

struct bounds {
    jinja_limits limits;
    uint64_t steps = 0;
    uint64_t bytes = 0;
    clock::time_point end;
    uintptr_t stack_end; /* an address below which nothing goes on; 0: not known */
};

thread_local bounds *current = nullptr;

/* A clock is read once in so many steps. */
constexpr uint64_t steps_a_look = 64;

/* What the engine's own frames take below a node. */
constexpr size_t stack_margin = 256u << 10;

} // namespace

jinja_scope::jinja_scope(const jinja_limits &limits) : outer(current)
{
    auto *made = new bounds;
    char here = 0;
    made->limits = limits;
    made->end = clock::now() + std::chrono::milliseconds(limits.milliseconds);
    size_t depth = limits.stack_bytes > 2 * stack_margin ? limits.stack_bytes - stack_margin : 0;
    made->stack_end = depth != 0 ? (uintptr_t)&here - depth : 0;
    state = made;
    current = made;
}

jinja_scope::~jinja_scope()
{
    delete static_cast<bounds *>(state);
    current = static_cast<bounds *>(outer);
}

void jinja_step()
{
    bounds *b = current;
    if (b == nullptr) {
        return;
    }
    char here = 0;
    if (++b->steps > b->limits.steps) {
        throw limit_reached("the template takes more than " + std::to_string(b->limits.steps) +
                            " steps");
    }
    if (b->steps % steps_a_look == 0 && clock::now() > b->end) {
        throw limit_reached("the template takes longer than " +
                            std::to_string(b->limits.milliseconds) + " ms");
    }
    if ((uintptr_t)&here < b->stack_end) {
        throw limit_reached("the template calls itself too deeply");
    }
}

void jinja_charge(uint64_t bytes)
{
    bounds *b = current;
    if (b == nullptr) {
        return;
    }
    b->bytes += bytes;
    if (bytes > b->limits.value_bytes || b->bytes > b->limits.bytes) {
        throw limit_reached("the template makes more text than the " +
                            std::to_string(b->limits.value_bytes >> 20) +
                            " MiB that one value may hold, or the " +
                            std::to_string(b->limits.bytes >> 20) + " MiB of all of them");
    }
}

void jinja_charge_product(uint64_t one, uint64_t other)
{
    uint64_t product;
    bounds *b = current;
    bool overflows = __builtin_mul_overflow(one, other, &product);
    if (b != nullptr && (overflows || product > b->limits.value_bytes)) {
        jinja_charge(b->limits.value_bytes + 1);
    }
}

static uint64_t own_bytes(const jinja::value &value)
{
    return jinja::is_val<jinja::value_string>(value) ? value->val_str.length() : 8;
}

uint64_t jinja_bytes_of(const jinja::value &value)
{
    if (value == nullptr) {
        return 0;
    }
    uint64_t bytes = own_bytes(value);
    if (jinja::is_val<jinja::value_array>(value)) {
        for (const auto &item : value->as_array()) {
            bytes += own_bytes(item);
        }
    } else if (jinja::is_val<jinja::value_object>(value)) {
        bytes += 16 * value->as_ordered_object().size();
    }
    return bytes;
}

} // namespace dw
