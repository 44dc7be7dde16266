#include "routes/logprobs.h"

#include "base/hash.h"
#include "routes/routes.h"

/* A token's bytes from their digits -> how many. */
static size_t bytes_of(const json_t *hex, unsigned char *bytes, size_t capacity)
{
    const char *digits = json_string_value(hex);
    size_t count = 0;
    while (digits != NULL && digits[0] != '\0' && digits[1] != '\0' && count < capacity) {
        bytes[count++] = (unsigned char)(dw_hex_digit(digits[0]) * 16 + dw_hex_digit(digits[1]));
        digits += 2;
    }
    return count;
}

/* Text that may be part of a character: what is no UTF-8 is shown as U+FFFD. */
static json_t *text_of(const unsigned char *bytes, size_t count)
{
    json_t *text = json_stringn((const char *)bytes, count);
    return text != NULL ? text : json_string("\xef\xbf\xbd");
}

/* [token, "hex", logprob] as {"token", "logprob", "bytes"}. */
static json_t *token_json(const json_t *given)
{
    unsigned char bytes[1024];
    size_t count = bytes_of(json_array_get(given, 1), bytes, sizeof bytes);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(list, json_integer(bytes[i]));
    }
    return json_pack("{s:o, s:f, s:o}", "token", text_of(bytes, count), "logprob",
                     json_number_value(json_array_get(given, 2)), "bytes", list);
}

void dw_logprobs_add(json_t *list, const json_t *line)
{
    for (size_t i = 0; i < json_array_size(line); i++) {
        const json_t *given = json_array_get(line, i);
        json_t *token = token_json(given);
        json_t *likeliest = json_array();
        const json_t *others = json_array_get(given, 3);
        for (size_t j = 0; j < json_array_size(others); j++) {
            (void)json_array_append_new(likeliest, token_json(json_array_get(others, j)));
        }
        (void)json_object_set_new(token, "top_logprobs", likeliest);
        (void)json_array_append_new(list, token);
    }
}
