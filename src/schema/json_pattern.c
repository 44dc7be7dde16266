/* Regular expressions of ECMA 262, as a schema's `pattern` has them, read into a tree; and the
 * trees that a grammar can say directly. json_automaton.c deals with the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "schema/json_grammar_internal.h"
#include "schema/json_regex_internal.h"

#define DEPTH_MAX 50
#define NODES_MAX 20000

typedef dw__char_range range;
typedef dw__char_set set;

typedef struct regex {
    dw__regex *tree;
    const char *text;
    size_t at;
    bool wide; /* classes hold all that any reading of them holds, else what all agree on */
    dw_error *err;
} regex;

static dw_status refuse(regex *r, const char *what)
{
    return dw_fail(r->err, DW_E_UNSUPPORTED, "pattern: character %zu: %s is not supported",
                   r->at + 1, what);
}

static dw_status wrong(regex *r, const char *what)
{
    return dw_fail(r->err, DW_E_FORMAT, "pattern: character %zu: %s", r->at + 1, what);
}

/* Jansson accepts UTF-8 alone. */
static uint32_t read_character(regex *r)
{
    const unsigned char *bytes = (const unsigned char *)r->text + r->at;
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 1;
    uint32_t value = length == 1 ? bytes[0] : bytes[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (bytes[i] & 0x3fU);
    }
    r->at += length;
    return value;
}

/* ---- sets --------------------------------------------------------------------------------- */

static dw_status add(regex *r, set *to, uint32_t low, uint32_t high)
{
    if (to->count == DW__SET_RANGES_MAX) {
        return refuse(r, "a set of so many ranges");
    }
    to->ranges[to->count++] = (range){low, high};
    return DW_OK;
}

static int by_low(const void *a, const void *b)
{
    uint32_t x = ((const range *)a)->low;
    uint32_t y = ((const range *)b)->low;
    return (x > y) - (x < y);
}

static void invert(set *to)
{
    set out = {.count = 0};
    uint32_t next = 0;
    qsort(to->ranges, to->count, sizeof to->ranges[0], by_low);
    for (size_t i = 0; i < to->count; i++) {
        if (to->ranges[i].low > next) {
            out.ranges[out.count++] = (range){next, to->ranges[i].low - 1};
        }
        next = to->ranges[i].high >= next ? to->ranges[i].high + 1 : next;
    }
    if (next <= DW__CHAR_MAX && out.count < DW__SET_RANGES_MAX) {
        out.ranges[out.count++] = (range){next, DW__CHAR_MAX};
    }
    *to = out;
}

static bool holds(const set *from, uint32_t character)
{
    for (size_t i = 0; i < from->count; i++) {
        if (from->ranges[i].low <= character && character <= from->ranges[i].high) {
            return true;
        }
    }
    return false;
}

static void write_range(dw__gbnf *to, uint32_t low, uint32_t high)
{
    dw__gbnf_character(to, low);
    if (high > low) {
        dw__gbnf_add(to, "-");
        dw__gbnf_character(to, high);
    }
}

/* The part of a range that a JSON string may hold as it is: not below the space, no quote, no
 * backslash, no DEL, no surrogates. */
static void emit_range(dw__gbnf *to, uint32_t low, uint32_t high)
{
    static const range gaps[] = {
        {0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x7f}, {0xd800, 0xdfff}};
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0] && low <= high; i++) {
        if (low < gaps[i].low) {
            uint32_t end = high < gaps[i].low ? high : gaps[i].low - 1;
            write_range(to, low, end);
        }
        low = low > gaps[i].high ? low : gaps[i].high + 1;
    }
    if (low <= high) {
        write_range(to, low, high);
    }
}

void dw__set_grammar(dw__gbnf *to, const dw__char_set *from)
{
    static const struct {
        uint32_t character;
        const char *escape;
    } escapes[] = {{'"', "\\\\\\\""}, {'\\', "\\\\\\\\"}, {'\n', "\\\\n"}, {'\r', "\\\\r"},
                   {'\t', "\\\\t"},   {'\b', "\\\\b"},    {'\f', "\\\\f"}};
    bool escaped = false;
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        escaped = escaped || holds(from, escapes[i].character);
    }
    dw__gbnf_add(to, escaped ? " ([" : " [");
    for (size_t i = 0; i < from->count; i++) {
        emit_range(to, from->ranges[i].low, from->ranges[i].high);
    }
    dw__gbnf_add(to, "]");
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        if (holds(from, escapes[i].character)) {
            dw__gbnf_add(to, " | \"%s\"", escapes[i].escape);
        }
    }
    dw__gbnf_add(to, escaped ? ")" : "");
}

/* A class, or its opposite, into a set. */
static dw_status add_whole(regex *r, set *to, set *class, bool opposite)
{
    dw_status status = DW_OK;
    if (opposite) {
        invert(class);
    }
    for (size_t i = 0; status == DW_OK && i < class->count; i++) {
        status = add(r, to, class->ranges[i].low, class->ranges[i].high);
    }
    return status;
}

/* \d \w \s and their opposites. Regular expressions differ in what these hold beyond ASCII (ECMA's
 * \w is ASCII, Python's is not): what is produced is what all agree on, so a class is taken
 * narrowly, and widely where it is what must not be. `inverted`: it stands in [^...]. */
static dw_status add_class(regex *r, set *to, char letter, bool inverted)
{
    static const range digits[] = {{'0', '9'}, {0x80, DW__CHAR_MAX}};
    static const range words[] = {
        {'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}, {0x80, DW__CHAR_MAX}};
    static const range spaces[] = {{'\t', '\r'},     {' ', ' '},       {0x1c, 0x1f},
                                   {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
                                   {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                   {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    static const struct {
        char letter;
        const range *ranges;
        size_t narrow_count;
        size_t wide_count;
    } classes[] = {{'d', digits, 1, 2}, {'w', words, 4, 5}, {'s', spaces, 2, 12}};
    set class = {.count = 0};
    bool opposite = letter >= 'A' && letter <= 'Z';
    for (size_t i = 0; i < 3; i++) {
        if (classes[i].letter == (opposite ? letter - 'A' + 'a' : letter)) {
            bool widely = (opposite != inverted) != r->wide;
            class.count = widely ? classes[i].wide_count : classes[i].narrow_count;
            memcpy(class.ranges, classes[i].ranges, class.count * sizeof(range));
        }
    }
    return add_whole(r, to, &class, opposite);
}

static dw_status read_hex(regex *r, size_t digits, uint32_t *character)
{
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++, r->at++) {
        const char *all = "0123456789abcdef";
        char c = r->text[r->at];
        c = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        const char *place = c != '\0' ? strchr(all, c) : NULL;
        if (place == NULL) {
            return wrong(r, "a hexadecimal digit is needed here");
        }
        value = value << 4 | (uint32_t)(place - all);
    }
    /* Half a pair stands for nothing that a string may hold; both, for the character they make. */
    const char *low = r->text + r->at;
    if (value >= 0xd800 && value <= 0xdbff && low[0] == '\\' && low[1] == 'u' &&
        (low[2] == 'd' || low[2] == 'D') && strchr("cdefCDEF", low[3]) != NULL && low[3] != '\0') {
        r->at += 2;
        uint32_t half;
        dw_status status = read_hex(r, 4, &half);
        *character = 0x10000 + ((value - 0xd800) << 10) + (half - 0xdc00);
        return status;
    }
    *character = value;
    return DW_OK;
}

/* \\p{...} and \\P{...}: general categories. Which characters beyond ASCII they hold changes from
 * year to year; taken narrowly, none. */
static dw_status read_category(regex *r, set *to, bool inverted)
{
    static const struct {
        const char *names;  /* each between bars */
        const char *ranges; /* of ASCII: pairs */
    } categories[] = {
        {"|L|Letter|Alphabetic|Alpha|", "AZaz"},
        {"|Lu|Uppercase_Letter|Uppercase|", "AZ"},
        {"|Ll|Lowercase_Letter|Lowercase|", "az"},
        {"|N|Number|Nd|Decimal_Number|", "09"},
        {"|P|Punctuation|", "!#%*,/:;?@[]__{{}}"},
        {"|S|Symbol|", "$$++<>^^``||~~"},
        {"|Sc|Currency_Symbol|", "$$"},
        {"|Sm|Math_Symbol|", "++<>||~~"},
        {"|Pd|Dash_Punctuation|", "--"},
        {"|Pc|Connector_Punctuation|", "__"},
        {"|Z|Separator|Zs|Space_Separator|", "  "},
        {"|M|Mark|Mn|Mc|Me|Lt|Lm|Lo|Nl|No|Zl|Zp|So|Cf|Co|Cn|Pi|Pf|Extended_Pictographic|"
         "Emoji_Presentation|",
         ""}};
    bool opposite = r->text[r->at] == 'P';
    bool braces = r->text[r->at + 1] == '{';
    const char *text = r->text + r->at + 1 + braces;
    text += strncmp(text, "General_Category=", 17) == 0 ? 17 : 0;
    size_t bytes = braces ? strcspn(text, "}") : text[0] != '\0';
    char name[40];
    set class = {.count = 0};
    (void)snprintf(name, sizeof name, "|%.*s|", bytes < 36 ? (int)bytes : 36, text);
    for (size_t i = 0; bytes > 0 && i < sizeof categories / sizeof categories[0]; i++) {
        if (strstr(categories[i].names, name) == NULL || (braces && text[bytes] != '}')) {
            continue;
        }
        for (const char *pair = categories[i].ranges; *pair != '\0'; pair += 2) {
            class.ranges[class.count++] = (range){(unsigned char)pair[0], (unsigned char)pair[1]};
        }
        if ((opposite != inverted) != r->wide) {
            class.ranges[class.count++] = (range){0x80, DW__CHAR_MAX};
        }
        r->at = (size_t)(text - r->text) + bytes + braces;
        return add_whole(r, to, &class, opposite);
    }
    return refuse(r, "such a \\p{...}");
}

/* Behind a backslash: one character, or a class, which goes into `to`. */
static dw_status read_escape(regex *r, set *to, bool inverted, uint32_t *character, bool *is_class)
{
    static const char controls[] = "n\nr\rt\tf\fv\v";
    char c = r->text[r->at];
    *is_class = c != '\0' && strchr("dDwWsSpP", c) != NULL;
    if (c == 'p' || c == 'P') {
        return read_category(r, to, inverted);
    }
    if (*is_class) {
        r->at++;
        return add_class(r, to, c, inverted);
    }
    for (size_t i = 0; i + 1 < sizeof controls; i += 2) {
        if (c == controls[i]) {
            r->at++;
            *character = (uint32_t)controls[i + 1];
            return DW_OK;
        }
    }
    if (c == 'x' || c == 'u') {
        r->at++;
        return read_hex(r, c == 'x' ? 2 : 4, character);
    }
    if (c == '\0') {
        return wrong(r, "a backslash with nothing behind it");
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
        char what[] = "\\?";
        what[1] = c;
        return refuse(r, what);
    }
    *character = read_character(r);
    return DW_OK;
}

static dw_status read_member(regex *r, set *to, bool inverted, uint32_t *character, bool *is_class)
{
    *is_class = false;
    if (r->text[r->at] != '\\') {
        *character = read_character(r);
        return DW_OK;
    }
    r->at++;
    if (r->text[r->at] == 'b') {
        r->at++;
        *character = '\b';
        return DW_OK;
    }
    return read_escape(r, to, inverted, character, is_class);
}

/* "-high" behind `low` in a set; without it `low`. */
static dw_status read_range_end(regex *r, set *to, bool inverted, uint32_t low, uint32_t *high)
{
    bool is_class;
    *high = low;
    if (r->text[r->at] != '-' || r->text[r->at + 1] == ']' || r->text[r->at + 1] == '\0') {
        return DW_OK;
    }
    r->at++;
    dw_status status = read_member(r, to, inverted, high, &is_class);
    if (status != DW_OK) {
        return status;
    }
    return is_class || *high < low ? wrong(r, "no such range") : DW_OK;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static dw_status add_node(regex *r, dw__regex_node node, uint32_t *out)
{
    dw__regex *tree = r->tree;
    if (tree->count >= NODES_MAX) {
        return refuse(r, "so long a pattern");
    }
    if (!DW_ARRAY_RESERVE(tree->nodes, tree->capacity, tree->count + 1, NODES_MAX)) {
        return dw_fail(r->err, DW_E_MEMORY, "no memory for a pattern");
    }
    *out = (uint32_t)tree->count;
    tree->nodes[tree->count++] = node;
    return DW_OK;
}

static dw_status add_set(regex *r, const set *from, uint32_t *node)
{
    dw__regex *tree = r->tree;
    if (!DW_ARRAY_RESERVE(tree->ranges, tree->range_capacity, tree->range_count + from->count,
                          SIZE_MAX)) {
        return dw_fail(r->err, DW_E_MEMORY, "no memory for a pattern");
    }
    size_t first = tree->range_count;
    for (size_t i = 0; i < from->count; i++) {
        tree->ranges[tree->range_count++] = from->ranges[i];
    }
    return add_node(r,
                    (dw__regex_node){.kind = DW__REGEX_SET,
                                     .first = (uint32_t)first,
                                     .count = (uint32_t)from->count},
                    node);
}

/* Behind '['. */
static dw_status read_set(regex *r, uint32_t *node)
{
    set found = {.count = 0};
    bool inverted = r->text[r->at] == '^';
    r->at += inverted;
    while (r->text[r->at] != ']') {
        uint32_t low;
        uint32_t high;
        bool is_class;
        if (r->text[r->at] == '\0') {
            return wrong(r, "']' is missing");
        }
        dw_status status = read_member(r, &found, inverted, &low, &is_class);
        if (status != DW_OK) {
            return status;
        }
        if (is_class) {
            continue; /* added by read_member */
        }
        status = read_range_end(r, &found, inverted, low, &high);
        if (status != DW_OK) {
            return status;
        }
        status = add(r, &found, low, high);
        if (status != DW_OK) {
            return status;
        }
    }
    r->at++;
    if (inverted) {
        invert(&found);
    }
    return add_set(r, &found, node);
}

/* ---- terms -------------------------------------------------------------------------------- */

static dw_status read_alternatives(regex *r, int depth, uint32_t *node);

/* What (? says of a group: `kind` is that of its node. */
static dw_status read_group_kind(regex *r, dw__regex_node *node)
{
    static const struct {
        const char *text;
        uint32_t kind;
        bool negated;
    } kinds[] = {{"?:", DW__REGEX_ALL, false},
                 {"?=", DW__REGEX_AHEAD, false},
                 {"?!", DW__REGEX_AHEAD, true},
                 {"?<=", DW__REGEX_BEHIND, false},
                 {"?<!", DW__REGEX_BEHIND, true}};
    *node = (dw__regex_node){.kind = DW__REGEX_ALL};
    if (r->text[r->at] != '?') {
        return DW_OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t bytes = strlen(kinds[i].text);
        if (strncmp(r->text + r->at, kinds[i].text, bytes) == 0) {
            *node = (dw__regex_node){.kind = kinds[i].kind, .negated = kinds[i].negated};
            r->at += bytes;
            return DW_OK;
        }
    }
    if (r->text[r->at + 1] == '<') { /* a name */
        size_t bytes = strcspn(r->text + r->at, ">");
        r->at += r->text[r->at + bytes] == '>' ? bytes + 1 : 0;
        return r->text[r->at] == '?' ? wrong(r, "a group's name has no '>'") : DW_OK;
    }
    return refuse(r, "a group that begins with (?");
}

/* Behind '('. What a negative look-around must not match is taken as widely as it may be read. */
static dw_status read_group(regex *r, int depth, uint32_t *out)
{
    dw__regex_node node;
    uint32_t inner;
    bool wide = r->wide;
    if (depth == DEPTH_MAX) {
        return refuse(r, "nesting as deep as this");
    }
    dw_status status = read_group_kind(r, &node);
    if (status != DW_OK) {
        return status;
    }
    r->wide = wide != node.negated;
    status = read_alternatives(r, depth + 1, &inner);
    r->wide = wide;
    if (status != DW_OK) {
        return status;
    }
    if (r->text[r->at] != ')') {
        return wrong(r, "')' is missing");
    }
    r->at++;
    if (node.kind == DW__REGEX_ALL) {
        *out = inner;
        return DW_OK;
    }
    node.first = inner;
    return add_node(r, node, out);
}

static dw_status read_atom(regex *r, int depth, uint32_t *node)
{
    static const set dot = {
        .ranges = {{0, '\n' - 1}, {'\n' + 1, '\r' - 1}, {'\r' + 1, 0x2027}, {0x202a, DW__CHAR_MAX}},
        .count = 4};
    set class = {.count = 0};
    uint32_t character;
    bool is_class = false;
    char c = r->text[r->at];
    if (c != '\0' && strchr("[(.\\^$", c) != NULL) {
        r->at++;
    }
    switch (c) {
    case '[':
        return read_set(r, node);
    case '(':
        return read_group(r, depth, node);
    case '.':
        return add_set(r, &dot, node);
    case '^':
    case '$':
        return add_node(r, (dw__regex_node){.kind = c == '^' ? DW__REGEX_START : DW__REGEX_END},
                        node);
    case '*':
    case '+':
    case '?':
        return wrong(r, "nothing to repeat");
    case '\\': {
        dw_status status = read_escape(r, &class, false, &character, &is_class);
        if (status != DW_OK) {
            return status;
        }
        break;
    }
    default:
        character = read_character(r);
    }
    if (!is_class) {
        class = (set){.ranges = {{character, character}}, .count = 1};
    }
    return add_set(r, &class, node);
}

/* {m}, {m,}, {m,n}; false: a brace that stands for itself. */
static bool read_counts(regex *r, uint32_t *least, uint32_t *most)
{
    const char *text = r->text + r->at + 1;
    char *end = NULL;
    if (*text < '0' || *text > '9') {
        return false;
    }
    unsigned long min = strtoul(text, &end, 10);
    unsigned long max = min;
    if (*end == ',') {
        text = end + 1;
        max = UINT32_MAX;
        if (*text >= '0' && *text <= '9') {
            max = strtoul(text, &end, 10);
            max = max > UINT32_MAX - 1 ? UINT32_MAX - 1 : max;
        } else {
            end++;
        }
    }
    if (*end != '}') {
        return false;
    }
    *least = min > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)min;
    *most = (uint32_t)max;
    r->at = (size_t)(end - r->text) + 1;
    return true;
}

/* * + ? {m} {m,} {m,n}, and a ? behind them, which changes what is found but not what matches. */
static dw_status read_quantifier(regex *r, uint32_t *node)
{
    char c = r->text[r->at];
    uint32_t least = c == '+';
    uint32_t most = c == '?' ? 1 : UINT32_MAX;
    if (c == '*' || c == '+' || c == '?') {
        r->at++;
    } else if (c != '{' || !read_counts(r, &least, &most)) {
        return DW_OK;
    }
    if (most < least) {
        return wrong(r, "{m}, {m,} or {m,n} is needed");
    }
    if (least > DW_GRAMMAR_REPETITIONS_MAX ||
        (most != UINT32_MAX && most > DW_GRAMMAR_REPETITIONS_MAX)) {
        return refuse(r, "a count above 10000");
    }
    uint32_t kind = r->tree->nodes[*node].kind;
    if (kind != DW__REGEX_SET && kind != DW__REGEX_ALL && kind != DW__REGEX_ANY &&
        kind != DW__REGEX_REPEAT) {
        return refuse(r, "repeating ^, $ or a look-around");
    }
    r->at += r->text[r->at] == '?';
    return add_node(
        r, (dw__regex_node){.kind = DW__REGEX_REPEAT, .first = *node, .least = least, .most = most},
        node);
}

/* Put a node behind the last of a list. */
static void append(dw__regex *tree, uint32_t *first, uint32_t *last, uint32_t node)
{
    if (*last == DW__REGEX_NONE) {
        *first = node;
    } else {
        tree->nodes[*last].next = node;
    }
    tree->nodes[node].next = DW__REGEX_NONE;
    *last = node;
}

/* Up to a | or the end of the group. */
static dw_status read_sequence(regex *r, int depth, uint32_t *out)
{
    uint32_t first = DW__REGEX_NONE;
    uint32_t last = DW__REGEX_NONE;
    while (r->text[r->at] != '\0' && r->text[r->at] != '|' && r->text[r->at] != ')') {
        uint32_t node;
        dw_status status = read_atom(r, depth, &node);
        if (status == DW_OK) {
            status = read_quantifier(r, &node);
        }
        if (status != DW_OK) {
            return status;
        }
        append(r->tree, &first, &last, node);
    }
    return add_node(r, (dw__regex_node){.kind = DW__REGEX_ALL, .first = first}, out);
}

static dw_status read_alternatives(regex *r, int depth, uint32_t *out)
{
    uint32_t first = DW__REGEX_NONE;
    uint32_t last = DW__REGEX_NONE;
    for (;;) {
        uint32_t node;
        dw_status status = read_sequence(r, depth, &node);
        if (status != DW_OK) {
            return status;
        }
        append(r->tree, &first, &last, node);
        if (r->text[r->at] != '|') {
            break;
        }
        r->at++;
    }
    if (first == last) {
        *out = first;
        return DW_OK;
    }
    return add_node(r, (dw__regex_node){.kind = DW__REGEX_ANY, .first = first}, out);
}

/* What may begin or end anywhere needs no more of a repetition there than its least: what is above
 * may as well be the text around it. */
static void cut_open_ends(dw__regex *tree, uint32_t index)
{
    dw__regex_node *node = &tree->nodes[index];
    if (node->kind == DW__REGEX_ANY) {
        for (uint32_t i = node->first; i != DW__REGEX_NONE; i = tree->nodes[i].next) {
            if (tree->nodes[i].kind == DW__REGEX_ALL) {
                cut_open_ends(tree, i);
            }
        }
    }
    if (node->kind != DW__REGEX_ALL || node->first == DW__REGEX_NONE) {
        return;
    }
    dw__regex_node *first = &tree->nodes[node->first];
    dw__regex_node *last = first;
    while (last->next != DW__REGEX_NONE) {
        last = &tree->nodes[last->next];
    }
    if (first->kind == DW__REGEX_REPEAT) {
        first->most = first->least;
    }
    if (last->kind == DW__REGEX_REPEAT) {
        last->most = last->least;
    }
}

dw_status dw__regex_parse(dw__regex *tree, const char *pattern, bool wide, dw_error *err)
{
    regex r = {.tree = tree, .text = pattern, .wide = wide, .err = err};
    *tree = (dw__regex){.nodes = NULL};
    dw_status status = read_alternatives(&r, 0, &tree->root);
    if (status == DW_OK && r.text[r.at] == ')') {
        status = wrong(&r, "')' without '('");
    }
    if (status != DW_OK) {
        dw__regex_release(tree);
        return status;
    }
    cut_open_ends(tree, tree->root);
    return DW_OK;
}

void dw__regex_release(dw__regex *tree)
{
    dw_free(tree->nodes);
    dw_free(tree->ranges);
    *tree = (dw__regex){.nodes = NULL};
}

/* ---- trees that are grammars as they are ---------------------------------------------------- */

static void node_set(const dw__regex *tree, const dw__regex_node *node, set *out)
{
    out->count = node->count;
    memcpy(out->ranges, tree->ranges + node->first, node->count * sizeof(range));
}

/* Whether there is no ^, $ or look-around in what [at] stands for. */
static bool is_free(const dw__regex *tree, uint32_t at)
{
    const dw__regex_node *node = &tree->nodes[at];
    if (node->kind == DW__REGEX_SET) {
        return true;
    }
    if (node->kind == DW__REGEX_REPEAT) {
        return is_free(tree, node->first);
    }
    if (node->kind != DW__REGEX_ALL && node->kind != DW__REGEX_ANY) {
        return false;
    }
    for (uint32_t i = node->first; i != DW__REGEX_NONE; i = tree->nodes[i].next) {
        if (!is_free(tree, i)) {
            return false;
        }
    }
    return true;
}

static void write_node(dw__schema_converter *c, dw__gbnf *to, const dw__regex *tree, uint32_t at)
{
    const dw__regex_node *node = &tree->nodes[at];
    if (node->kind == DW__REGEX_SET) {
        set found;
        node_set(tree, node, &found);
        dw__set_grammar(to, &found);
        return;
    }
    dw__gbnf_add(to, " (");
    if (node->kind == DW__REGEX_REPEAT) {
        write_node(c, to, tree, node->first);
    }
    for (uint32_t i = node->kind == DW__REGEX_REPEAT ? DW__REGEX_NONE : node->first;
         i != DW__REGEX_NONE; i = tree->nodes[i].next) {
        if (node->kind == DW__REGEX_ANY && i != node->first) {
            dw__gbnf_add(to, " |");
        }
        write_node(c, to, tree, i);
    }
    dw__gbnf_add(to, " )");
    if (node->kind == DW__REGEX_REPEAT) {
        bool open = node->most == UINT32_MAX;
        uint32_t cut = node->least > (uint32_t)c->longest ? node->least : (uint32_t)c->longest;
        c->was_cut = c->was_cut || (!open && node->most > cut);
        uint32_t most = node->most > cut ? cut : node->most;
        c->repeated += open ? node->least : most;
        dw__gbnf_add(to, open ? "{%u,}" : "{%u,%u}", node->least, most);
    }
}

bool dw__regex_grammar(dw__schema_converter *c, dw__gbnf *to, const dw__regex *tree)
{
    const dw__regex_node *root = &tree->nodes[tree->root];
    bool from_start = false;
    bool to_end = false;
    if (root->kind != DW__REGEX_ALL) {
        if (!is_free(tree, tree->root)) {
            return false;
        }
        dw__gbnf_add(to, " char*");
        write_node(c, to, tree, tree->root);
        dw__gbnf_add(to, " char*");
        return true;
    }
    for (uint32_t i = root->first; i != DW__REGEX_NONE; i = tree->nodes[i].next) {
        uint32_t kind = tree->nodes[i].kind;
        bool start = kind == DW__REGEX_START && i == root->first;
        bool end = kind == DW__REGEX_END && tree->nodes[i].next == DW__REGEX_NONE;
        if (!start && !end && !is_free(tree, i)) {
            return false;
        }
        from_start = from_start || start;
        to_end = to_end || end;
    }
    dw__gbnf_add(to, "%s (", from_start ? "" : " char*");
    for (uint32_t i = root->first; i != DW__REGEX_NONE; i = tree->nodes[i].next) {
        uint32_t kind = tree->nodes[i].kind;
        if (kind != DW__REGEX_START && kind != DW__REGEX_END) {
            write_node(c, to, tree, i);
        }
    }
    dw__gbnf_add(to, " )%s", to_end ? "" : " char*");
    return true;
}
