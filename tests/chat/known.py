"""What is known to differ from Jinja2, or not to be read as a format's makers document it, and why.
An entry that differs no longer is a fault of this list: tests fail then."""

TEMPLATES = {
    "construct/encode": "there are no bytes",
    "construct/numbers": "whole numbers have 64 bits",
}

# By format and case. The parsers of formats are llama.cpp's; what they do not read is content.
FORMATS = {
    "llama_3.1_python_tag tag_call": "the parser has no <|python_tag|>, which is left as content",
    "mistral_small_3.2 call": "the parser takes [CALL_ID] for a part of the name",
    "granite_3.3 call": "the template writes no calls, so that no form of them is found in it",
    "granite_3.3 two_calls": "the template writes no calls, so that no form of them is found in it",
    "granite_3.3_thinking thought_text": "the template writes no <response>",
    "functionary_v3.2 said_call": "the parser wants no >>> between parts of an answer",
    "functionary_v3.2 two_calls": "the parser wants no >>> between parts of an answer",
    "lfm2 call_then_text": "the parser has the end of an answer behind the calls",
    "apertus thought_text": "the parser finds no reasoning, which the template has in parts alone",
    "minimax_m2 two_calls": "the parser has one call in a block",
}
