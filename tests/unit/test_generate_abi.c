/* What generate_begin refuses, by the request's fields. What it does: test_generation.c. */
#include <string.h>

#include "abi_fixture.h"
#include "support.h"

#define AT_REQUEST AT_INFO
#define AT_ROOM AT_LOGITS
#define AT_STOPS (AT_WORDS + 8192u)

static int32_t sampler;

static dw_generate_request *request(void)
{
    return (dw_generate_request *)(void *)(abi.memory + AT_REQUEST);
}

static void set_request(void)
{
    sampler = sampler > 0 ? sampler : CALL("sampler_create", U(abi.model_handle), 0);
    assert_true(sampler > 0);
    *request() = (dw_generate_request){.struct_bytes = sizeof(dw_generate_request),
                                       .prompt = AT_TOKENS,
                                       .prompt_count = 4,
                                       .tokens = AT_ROOM,
                                       .tokens_max = 8};
    memset(request() + 1, 0, 256);
}

static int32_t begin(void)
{
    return CALL("generate_begin", U(abi.context_handle), U(sampler), AT_REQUEST);
}

static int set_up(void **state)
{
    sampler = 0;
    return abi_set_up(state);
}

/* The request as it should be, but for one field. */
#define REFUSED(field, value, status, words)                                                       \
    do {                                                                                           \
        set_request();                                                                             \
        request()->field = (value);                                                                \
        assert_int_equal(begin(), (status));                                                       \
        abi_expect_message(words);                                                                 \
        assert_int_equal(CALL("context_length", U(abi.context_handle)), 0);                        \
    } while (0)

static void test_generate_abi_takes_and_leaves(void **state)
{
    (void)state;
    set_request();
    request()->end = 77;
    assert_int_equal(begin(), DW_OK);
    /* The call was over before anybody waited. */
    assert_int_equal(request()->end, DW_GENERATE_LEFT);
    assert_int_equal(request()->token_count, 0);
    assert_int_equal(request()->stop_index, -1);
    assert_int_equal(CALL("context_length", U(abi.context_handle)), 0);
    assert_int_equal(CALL("generate_wait", U(abi.context_handle)), DW_E_STATE);
    abi_expect_message("nothing is generated");
    assert_int_equal(CALL("generate_end", U(abi.context_handle)), DW_E_STATE);
    assert_int_equal(CALL("generate_wait", U(sampler)), DW_E_HANDLE);
    assert_int_equal(CALL("generate_end", 0), DW_E_HANDLE);
    assert_int_equal(CALL("context_close", U(abi.context_handle)), DW_OK);
    assert_int_equal(CALL("sampler_close", U(sampler)), DW_OK);
}

/* A prompt has to fit in the context's window; what is held makes way for it. */
static void test_generate_abi_of_a_window(void **state)
{
    const uint32_t c = U(abi.context_handle);
    (void)state;
    assert_int_equal(CALL("context_window", c, 2, 4), DW_OK);
    set_request();
    request()->prompt_count = 7;
    assert_int_equal(begin(), DW_E_LIMIT);
    abi_expect_message("7 tokens behind 0, the context has a window of 4 behind a sink of 2");
    assert_int_equal(CALL("forward", c, AT_TOKENS, 6, 0, 0), 6);
    set_request();
    assert_int_equal(begin(), DW_OK);
    assert_int_equal(CALL("context_length", c), 2); /* and was left before it came */
}

static void test_generate_abi_refuses_handles(void **state)
{
    (void)state;
    set_request();
    assert_int_equal(CALL("generate_begin", U(sampler), U(sampler), AT_REQUEST), DW_E_HANDLE);
    assert_int_equal(
        CALL("generate_begin", U(abi.context_handle), U(abi.context_handle), AT_REQUEST),
        DW_E_HANDLE);
    assert_int_equal(CALL("generate_begin", U(abi.context_handle), U(sampler), MEMORY_BYTES - 60),
                     DW_E_RANGE);
    assert_int_equal(CALL("generate_begin", U(abi.context_handle), U(sampler), AT_REQUEST + 2),
                     DW_E_ALIGN);
}

static void test_generate_abi_refuses_fields(void **state)
{
    (void)state;
    REFUSED(struct_bytes, 0, DW_E_RANGE, "struct_bytes 0");
    REFUSED(struct_bytes, 60, DW_E_RANGE, "struct_bytes 60");
    REFUSED(struct_bytes, 4097, DW_E_RANGE, "struct_bytes 4097");
    REFUSED(flags, 4, DW_E_ARG, "flags: 0x4");
    REFUSED(reserved[1], 1, DW_E_UNSUPPORTED, "reserved");
    REFUSED(prompt_count, 0, DW_E_ARG, "prompt_count");
    REFUSED(prompt_count, 1u << 30, DW_E_RANGE, "prompt");
    REFUSED(prompt, AT_TOKENS + 2, DW_E_ALIGN, "prompt");
    REFUSED(prompt, MEMORY_BYTES - 8, DW_E_RANGE, "prompt");
    REFUSED(tokens_max, 0, DW_E_ARG, "tokens_max");
    REFUSED(tokens_max, 1u << 30, DW_E_RANGE, "tokens");
    REFUSED(tokens, AT_ROOM + 1, DW_E_ALIGN, "tokens");
    REFUSED(tokens, MEMORY_BYTES - 28, DW_E_RANGE, "tokens");
    REFUSED(tokens, AT_REQUEST + 60, DW_E_OVERLAP, "tokens");
    REFUSED(tokens, AT_REQUEST - 28, DW_E_OVERLAP, "tokens");
    REFUSED(stop_token_count, 1025, DW_E_LIMIT, "stop_tokens: 1025");
    REFUSED(stop_string_count, 65, DW_E_LIMIT, "stop_strings: 65");
    abi_tokens()[3] = (int32_t)abi.vocab_count;
    REFUSED(flags, 0, DW_E_RANGE, "prompt[3]");
    abi_tokens()[3] = -1;
    REFUSED(flags, 0, DW_E_RANGE, "prompt[3]");
    abi_tokens()[3] = 3;
    set_request(); /* of a later host's guest: known as far as it goes */
    request()->struct_bytes = 80;
    assert_int_equal(begin(), DW_OK);
    ((unsigned char *)(request() + 1))[15] = 1;
    request()->token_count = 0;
    assert_int_equal(begin(), DW_E_UNSUPPORTED);
    abi_expect_message("byte 79");
}

static void test_generate_abi_refuses_stops(void **state)
{
    dw_stop_string *stops = (dw_stop_string *)(void *)(abi.memory + AT_STOPS);
    (void)state;
    memset(abi.memory + AT_TEXT, 'a', 256);
    set_request();
    request()->stop_strings = AT_STOPS;
    request()->stop_string_count = 2;
    stops[0] = (dw_stop_string){AT_TEXT, 255};
    stops[1] = (dw_stop_string){AT_TEXT, 1};
    assert_int_equal(begin(), DW_OK);
    stops[1].bytes = 0;
    assert_int_equal(begin(), DW_E_ARG);
    abi_expect_message("stop_strings[1]: 0 bytes");
    stops[1].bytes = 256;
    assert_int_equal(begin(), DW_E_LIMIT);
    abi_expect_message("stop_strings[1]: 256 bytes");
    stops[1] = (dw_stop_string){MEMORY_BYTES - 4, 5};
    assert_int_equal(begin(), DW_E_RANGE);
    request()->stop_strings = AT_STOPS + 2;
    assert_int_equal(begin(), DW_E_ALIGN);
    request()->stop_strings = MEMORY_BYTES - 12;
    assert_int_equal(begin(), DW_E_RANGE);
    set_request();
    request()->stop_tokens = AT_STOPS;
    request()->stop_token_count = 1;
    stops[0] = (dw_stop_string){abi.vocab_count, 0};
    assert_int_equal(begin(), DW_E_RANGE);
    abi_expect_message("stop_tokens[0]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_generate_abi_takes_and_leaves, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_generate_abi_of_a_window, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_generate_abi_refuses_handles, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_generate_abi_refuses_fields, set_up, abi_tear_down),
        cmocka_unit_test_setup_teardown(test_generate_abi_refuses_stops, set_up, abi_tear_down),
    };
    return cmocka_run_group_tests(tests, abi_fixture_open, abi_fixture_close);
}
