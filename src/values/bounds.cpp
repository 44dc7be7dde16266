#include "values/bounds.h"

#include <algorithm>
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
    uint64_t looked_at = 0; /* bytes since the clock was read */
    clock::time_point end;
    uintptr_t stack_end; /* an address below which nothing goes on; 0: not known */
};

thread_local bounds *current = nullptr;

/* A clock is read once in so many steps. */
constexpr uint64_t steps_a_look = 64;
constexpr uint64_t bytes_a_look = 1u << 20;

/* What the engine's own frames take below a node. */
constexpr size_t stack_margin = 256u << 10;

} // namespace

jinja_scope::jinja_scope(const jinja_limits &limits) : outer(current)
{
    auto *made = new bounds;
    char here = 0;
    made->limits = limits;
    if (limits.asks == nullptr && current != nullptr) {
        made->limits.asks = current->limits.asks;
        made->limits.stop = current->limits.stop;
    }
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

static void look_at_clock(const bounds *b)
{
    if (b->limits.asks != nullptr && b->limits.asks(b->limits.stop)) {
        throw stop_reached("chat: cancelled");
    }
    if (clock::now() > b->end) {
        throw limit_reached("the template takes longer than " +
                            std::to_string(b->limits.milliseconds) + " ms");
    }
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
    if (b->steps % steps_a_look == 0) {
        look_at_clock(b);
    }
    if ((uintptr_t)&here < b->stack_end) {
        throw limit_reached("the template calls itself too deeply");
    }
}

void jinja_work(uint64_t bytes)
{
    bounds *b = current;
    if (b == nullptr) {
        return;
    }
    b->looked_at += bytes;
    if (b->looked_at >= bytes_a_look) {
        b->looked_at = 0;
        look_at_clock(b);
    }
}

void jinja_grow(uint64_t before, uint64_t bytes)
{
    bounds *b = current;
    if (b == nullptr) {
        return;
    }
    b->bytes += bytes;
    if (before + bytes > b->limits.value_bytes || b->bytes > b->limits.bytes) {
        throw limit_reached("the template makes more text than the " +
                            std::to_string(b->limits.value_bytes >> 20) +
                            " MiB that one value may hold, or the " +
                            std::to_string(b->limits.bytes >> 20) + " MiB of all of them");
    }
    jinja_work(bytes);
}

void jinja_charge(uint64_t bytes)
{
    jinja_grow(0, bytes);
}

void jinja_charge_product(uint64_t one, uint64_t other)
{
    uint64_t product;
    bool overflows = __builtin_mul_overflow(one, other, &product);
    jinja_charge(overflows ? UINT64_MAX / 2 : product);
}

std::string place_of(std::string_view source, size_t at)
{
    std::string_view before = source.substr(0, std::min(at, source.size()));
    size_t line_begin = before.rfind('\n');
    line_begin = line_begin == std::string_view::npos ? 0 : line_begin + 1;
    size_t line = 1, column = 1;
    for (size_t i = 0; i < before.size(); i++) {
        line += before[i] == '\n' ? 1 : 0;
        column += i >= line_begin && ((unsigned char)before[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return "line " + std::to_string(line) + ", column " + std::to_string(column) + ": ";
}

} // namespace dw
