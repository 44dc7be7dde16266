/* Decimal numbers between two bounds, digit by digit: a state for each place, which says whether
 * the digits so far are those of a bound, and, for multipleOf, what they leave when divided. Each
 * state is a rule, made from the last place to the first; equal ones are one. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "schema/json_grammar_internal.h"

#define DIGITS_MAX 400     /* of a bound, before the point and behind it */
#define USUAL_DIGITS 15    /* in all: what a double holds exactly */
#define MULTIPLE_MAX 6000U /* multipleOf without the zeros at its end: a state for each rest */
#define STATES_MAX 24000U  /* rests by places */
#define PLACES_MAX (2 * DIGITS_MAX + 8)

/* A bound of magnitudes. `there` is false: none. */
typedef struct edge {
    dw__decimal at;
    bool open;
    bool there;
} edge;

typedef struct writer {
    dw__schema_converter *c;
    dw__gbnf *to;
    const char *sign;
    bool any; /* whether something has been written */
    bool whole;
    uint32_t multiple; /* of 10^-places; 1: of any such */
    uint32_t places;   /* behind the point; UINT32_MAX: what is left of USUAL_DIGITS */
    uint32_t zeros;    /* written behind each number but 0 */
} writer;

/* Numbers of so many digits before the point. Rules of the place behind the one in hand; 0: nothing
 * can follow. */
typedef struct segment {
    writer *w;
    uint32_t before;
    uint32_t behind; /* at most */
    edge low;
    edge high;
    uint32_t *free; /* [multiple]: by rest, past both bounds */
    uint32_t low_rule;
    uint32_t high_rule;
    uint32_t both_rule;
} segment;

static uint32_t behind_of(const writer *w, uint32_t before)
{
    return w->whole                  ? 0
           : w->places != UINT32_MAX ? w->places
           : before < USUAL_DIGITS   ? USUAL_DIGITS - before
                                     : 0;
}

/* The digit of a bound at a place from the left, of numbers with `before` digits before the
 * point. */
static uint32_t digit_of(const edge *of, uint32_t before, uint32_t place)
{
    int64_t i = (int64_t)place - (int64_t)before + of->at.point;
    return i < 0 || i >= (int64_t)of->at.count ? 0 : (uint32_t)(of->at.digits[i] - '0');
}

static bool zeros_from(const edge *of, uint32_t before, uint32_t place)
{
    return (int64_t)place - (int64_t)before + of->at.point >= (int64_t)of->at.count;
}

/* Whether digits equal to a bound's so far may end there. */
static bool may_end_low(const segment *s, uint32_t place)
{
    return zeros_from(&s->low, s->before, place) && !s->low.open;
}

static bool may_end_high(const segment *s, uint32_t place)
{
    return !zeros_from(&s->high, s->before, place) || !s->high.open;
}

/* What the digits of a number leave, once those behind the point that are not there are zeros. */
static bool divides(const writer *w, uint32_t rest, uint32_t behind)
{
    uint64_t value = rest;
    for (uint32_t i = behind; w->multiple > 1 && w->places != UINT32_MAX && i < w->places; i++) {
        value = value * 10 % w->multiple;
    }
    return value % w->multiple == 0;
}

/* What is left where digits may be any: without multipleOf, counts of them. */
static void any_digits(dw__gbnf *body, const segment *s, uint32_t place)
{
    if (place < s->before) {
        dw__gbnf_add(body, " [0-9]{%u}", s->before - place);
    }
    if (place <= s->before && s->behind > 0) {
        dw__gbnf_add(body, " (\".\" [0-9]{1,%u})?", s->behind);
    } else if (place > s->before && place < s->before + s->behind) {
        dw__gbnf_add(body, " [0-9]{0,%u}", s->before + s->behind - place);
    }
}

/* Whether a state at the lower bound is in truth past it: what follows in it is zeros. */
static bool past_low(const segment *s, uint32_t place)
{
    return may_end_low(s, place);
}

/* The rule of the place behind this one, where digit `d` was written here. */
static uint32_t next_rule(const segment *s, uint32_t place, bool at_low, bool at_high,
                          uint32_t rest, uint32_t d)
{
    at_low = at_low && d == digit_of(&s->low, s->before, place) && !past_low(s, place + 1);
    at_high = at_high && d == digit_of(&s->high, s->before, place);
    return at_low && at_high ? s->both_rule
           : at_low          ? s->low_rule
           : at_high         ? s->high_rule
                             : s->free[((uint64_t)rest * 10 + d) % s->w->multiple];
}

/* The alternatives of a place: each digit, those that lead to the same rule together. */
static void digits(dw__gbnf *body, const segment *s, uint32_t place, bool at_low, bool at_high,
                   uint32_t rest)
{
    uint32_t from = at_low ? digit_of(&s->low, s->before, place) : place == 0 && s->before > 1;
    uint32_t until = at_high ? digit_of(&s->high, s->before, place) : 9;
    for (uint32_t d = from; d <= until;) {
        uint32_t rule = next_rule(s, place, at_low, at_high, rest, d);
        uint32_t last = d;
        while (last < until && next_rule(s, place, at_low, at_high, rest, last + 1) == rule) {
            last++;
        }
        if (rule != 0) {
            dw__gbnf_add(body, "%s%s [%u-%u] s%u", body->count > 0 ? " |" : "",
                         place == s->before ? " \".\"" : "", d, last, rule);
        }
        d = last + 1;
    }
}

/* The rule of a state; 0: nothing ends from there. */
static dw_status state_rule(const segment *s, uint32_t place, bool at_low, bool at_high,
                            uint32_t rest, uint32_t *rule)
{
    dw__gbnf body = {.bytes = NULL};
    bool ends = place >= s->before && (!at_low || may_end_low(s, place)) &&
                (!at_high || may_end_high(s, place)) && divides(s->w, rest, place - s->before);
    if (!at_low && !at_high && s->w->multiple == 1 && (place > 0 || s->before == 1)) {
        any_digits(&body, s, place);
        ends = true;
    } else {
        dw__gbnf_add(&body, "%s", ends ? " \"\"" : "");
        if (place < s->before + s->behind) {
            digits(&body, s, place, at_low, at_high, rest);
        }
    }
    *rule = 0;
    if (body.count == 0 && !ends && !body.failed) {
        dw__gbnf_release(&body);
        return DW_OK;
    }
    return dw__schema_shared_rule(s->w->c, &body, rule);
}

/* rests [place + 1]: what the bound's digits before a place leave. */
static void rests_of(const segment *s, const edge *of, uint32_t *rests)
{
    rests[0] = 0;
    for (uint32_t i = 0; of->there && i < s->before + s->behind; i++) {
        rests[i + 1] = (rests[i] * 10 + digit_of(of, s->before, i)) % s->w->multiple;
    }
}

/* The rules of one place, from those of the place behind it. */
static dw_status place_rules(segment *s, uint32_t place, uint32_t low_rest, uint32_t high_rest,
                             uint32_t *room)
{
    uint32_t low = 0;
    uint32_t high = 0;
    uint32_t both = 0;
    dw_status status = DW_OK;
    bool last = place == s->before + s->behind;
    for (uint32_t r = 0; status == DW_OK && r < s->w->multiple; r++) {
        status = state_rule(s, place, false, false, r, &room[r]);
    }
    if (status == DW_OK && s->low.there && (place == 0 || !past_low(s, place))) {
        status = state_rule(s, place, true, false, low_rest, &low);
    }
    if (status == DW_OK && s->high.there) {
        status = state_rule(s, place, false, true, high_rest, &high);
    }
    if (status == DW_OK && s->low.there && s->high.there && (last || low_rest == high_rest)) {
        status = state_rule(s, place, true, true, low_rest, &both);
    }
    memcpy(s->free, room, s->w->multiple * sizeof *room);
    s->low_rule = low;
    s->high_rule = high;
    s->both_rule = both;
    return status;
}

/* Numbers of s->before digits before the point within the segment's bounds; *rule 0: none. */
static dw_status segment_rule(segment *s, uint32_t *rule)
{
    uint32_t low_rests[PLACES_MAX];
    uint32_t high_rests[PLACES_MAX];
    uint32_t count = s->w->multiple;
    uint32_t *block = dw_alloc(2 * (size_t)count, sizeof *block);
    dw_status status = DW_OK;
    s->behind = behind_of(s->w, s->before);
    DW_ASSERT(s->before + s->behind + 1 < PLACES_MAX);
    if (block == NULL) {
        return dw_fail(s->w->c->err, DW_E_MEMORY, "no memory for a schema");
    }
    s->free = block;
    rests_of(s, &s->low, low_rests);
    rests_of(s, &s->high, high_rests);
    for (uint32_t i = s->before + s->behind + 1; status == DW_OK && i-- > 0;) {
        status = place_rules(s, i, low_rests[s->low.there ? i : 0],
                             high_rests[s->high.there ? i : 0], block + count);
    }
    *rule = s->low.there && s->high.there ? s->both_rule
            : s->low.there                ? s->low_rule
            : s->high.there               ? s->high_rule
                                          : s->free[0];
    dw_free(block);
    return status;
}

static void alternative(writer *w, uint32_t rule)
{
    if (rule == 0) {
        return;
    }
    dw__gbnf_add(w->to, "%s%s s%u", w->any ? " |" : "", w->sign, rule);
    if (w->zeros > 0) {
        dw__gbnf_add(w->to, " \"0\"{%u}", w->zeros);
    }
    w->any = true;
}

static dw_status write_segment(writer *w, uint32_t before, const edge *low, const edge *high)
{
    segment s = {.w = w, .before = before};
    uint32_t rule = 0;
    if (low != NULL) {
        s.low = *low;
    }
    if (high != NULL) {
        s.high = *high;
    }
    dw_status status = segment_rule(&s, &rule);
    alternative(w, rule);
    return status;
}

/* Numbers of `least` to `most` digits before the point, 2 <= least, without bounds: a chain, so
 * that it is not to be guessed how many digits there will be. */
static dw_status write_between(writer *w, uint32_t least, uint32_t most)
{
    uint32_t next = 0;
    if (w->multiple > 1) {
        dw_status status = DW_OK;
        for (uint32_t i = least; status == DW_OK && i <= most; i++) {
            status = write_segment(w, i, NULL, NULL);
        }
        return status;
    }
    for (uint32_t i = most; i >= least; i--) {
        dw__gbnf body = {.bytes = NULL};
        uint32_t behind = behind_of(w, i);
        if (behind > 0) {
            dw__gbnf_add(&body, " (\".\" [0-9]{1,%u})?", behind);
        } else {
            dw__gbnf_add(&body, " \"\"");
        }
        if (next != 0) {
            dw__gbnf_add(&body, " | [0-9] s%u", next);
        }
        dw_status status = dw__schema_shared_rule(w->c, &body, &next);
        if (status != DW_OK) {
            return status;
        }
    }
    dw__gbnf body = {.bytes = NULL};
    dw__gbnf_add(&body, " [1-9] [0-9]{%u} s%u", least - 1, next);
    dw_status status = dw__schema_shared_rule(w->c, &body, &next);
    alternative(w, next);
    return status;
}

static uint32_t digits_before(const edge *of)
{
    return of->at.point > 1 ? (uint32_t)of->at.point : 1;
}

/* How many digits numbers without an upper bound may have before the point. */
static uint32_t most_digits(const writer *w, uint32_t least)
{
    uint32_t most = w->multiple > 1 && MULTIPLE_MAX / w->multiple < USUAL_DIGITS
                        ? MULTIPLE_MAX / w->multiple
                        : USUAL_DIGITS;
    most = most > w->zeros ? most - w->zeros : 1;
    return most > least ? most : least + 1;
}

/* Alternatives for the magnitudes between two bounds; `high` may not be there. */
static dw_status write_magnitudes(writer *w, edge low, edge high)
{
    uint32_t least = digits_before(&low);
    if (least > DIGITS_MAX) {
        return dw_fail(w->c->err, DW_E_UNSUPPORTED, "numbers of over %d digits are not supported",
                       DIGITS_MAX);
    }
    if (high.there && digits_before(&high) > DIGITS_MAX) {
        high.there = false;
    }
    uint32_t most = high.there ? digits_before(&high) : most_digits(w, least);
    if (w->multiple > 1 && w->multiple * (most + behind_of(w, most)) > STATES_MAX) {
        return dw_fail(w->c->err, DW_E_UNSUPPORTED,
                       "multiples of %u over %u digits are not supported", w->multiple, most);
    }
    if (high.there && least == most) {
        return write_segment(w, least, &low, &high);
    }
    dw_status status = write_segment(w, least, &low, NULL);
    uint32_t last = high.there ? most - 1 : most;
    if (status == DW_OK && last > least) {
        status = write_between(w, least + 1, last);
    }
    return status == DW_OK && high.there ? write_segment(w, most, NULL, &high) : status;
}

static edge edge_of(const dw__bound *bound, uint32_t zeros)
{
    edge out = {.at = bound->at, .open = bound->excluded, .there = bound->given};
    out.at.negative = false;
    out.at.point -= out.at.count > 0 ? (int32_t)zeros : 0;
    return out;
}

static int order(const edge *a, const edge *b)
{
    return dw__decimal_compare(&a->at, &b->at);
}

/* Magnitudes from low to high if there are any. */
static dw_status write_range(writer *w, const char *sign, edge low, edge high)
{
    int by = high.there ? order(&low, &high) : -1;
    w->sign = sign;
    if (by > 0 || (by == 0 && (low.open || high.open))) {
        return DW_OK;
    }
    if (w->zeros > 0 && low.at.count == 0 && !low.open) { /* 0 has no zeros behind it */
        dw__gbnf_add(w->to, "%s \"0\"", w->any ? " |" : "");
        w->any = true;
        low.open = true;
        if (high.there && high.at.count == 0) {
            return DW_OK;
        }
    }
    return write_magnitudes(w, low, high);
}

static dw_status write_numbers(writer *w, const dw__bounds *bounds)
{
    const edge zero = {.there = true};
    const edge above_zero = {.there = true, .open = true};
    bool low_negative = !bounds->low.given || bounds->low.at.negative;
    bool high_negative = bounds->high.given && bounds->high.at.negative;
    edge low = edge_of(&bounds->low, w->zeros);
    edge high = edge_of(&bounds->high, w->zeros);
    dw_status status = DW_OK;
    if (!high_negative) {
        status = write_range(w, "", low_negative ? zero : low, high);
    }
    if (status == DW_OK && low_negative) {
        status = write_range(w, " \"-\"", high_negative ? high : above_zero, low);
    }
    return status;
}

/* multipleOf is multiple * 10^-places, or with zeros. */
static dw_status take_multiple(writer *w, const dw__decimal *of)
{
    int32_t behind = (int32_t)of->count - of->point;
    uint64_t multiple = 0;
    for (uint32_t i = 0; i < of->count && multiple <= (uint64_t)1 << 30; i++) {
        multiple = multiple * 10 + (uint32_t)(of->digits[i] - '0');
    }
    if (behind > DIGITS_MAX || behind < -DIGITS_MAX || multiple > (uint64_t)1 << 30) {
        return dw_fail(w->c->err, DW_E_UNSUPPORTED,
                       "multipleOf of so many digits is not supported");
    }
    for (; w->whole && behind > 0; behind--) { /* a whole number need not divide by 2 or 5 again */
        multiple = multiple % 2 == 0 ? multiple / 2 : multiple;
        multiple = multiple % 5 == 0 ? multiple / 5 : multiple;
    }
    if (multiple > MULTIPLE_MAX) {
        return dw_fail(w->c->err, DW_E_UNSUPPORTED,
                       "multipleOf above %u, without zeros at its end, is not supported",
                       MULTIPLE_MAX);
    }
    w->multiple = (uint32_t)multiple;
    w->zeros = behind < 0 ? (uint32_t)-behind : 0;
    w->places = behind > 0 ? (uint32_t)behind : 0;
    w->whole = w->whole || behind <= 0;
    return DW_OK;
}

static uint32_t places_of(const dw__bound *bound)
{
    int64_t places = bound->given ? (int64_t)bound->at.count - bound->at.point : 0;
    return places < 0 ? 0 : places > DIGITS_MAX - 1 ? DIGITS_MAX - 1 : (uint32_t)places;
}

dw_status dw__number_grammar(dw__schema_converter *c, const dw__bounds *bounds, dw__gbnf *to,
                             bool *written)
{
    writer w = {.c = c, .to = to, .whole = bounds->whole, .multiple = 1, .places = UINT32_MAX};
    dw_status status = DW_OK;
    if (bounds->step.given) {
        status = take_multiple(&w, &bounds->step.at);
    }
    if (status == DW_OK) {
        status = write_numbers(&w, bounds);
    }
    /* Nothing of the usual number of digits: as many as the bounds have, or one more. */
    uint32_t low = places_of(&bounds->low);
    uint32_t high = places_of(&bounds->high);
    for (uint32_t more = 0; more < 2 && !w.any && !w.whole && !bounds->step.given; more++) {
        w.places = (low > high ? low : high) + more;
        status = status == DW_OK ? write_numbers(&w, bounds) : status;
    }
    *written = w.any;
    return status;
}
