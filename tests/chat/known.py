"""What is known to differ from Jinja2, or not to be read as a format's makers document it, and why.
An entry that differs no longer is a fault of this list: tests fail then."""

TEMPLATES = {
    "construct/encode": "there are no bytes",
    "construct/numbers": "whole numbers have 64 bits",
    "ai-sage-GigaChat3.1-Audio-10B-A1.8B": "dict.from_keys is left out",
}

# By format and case; their text is content.
FORMATS = {}
