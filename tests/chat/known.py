"""What is known to differ from Jinja2, or not to be read as a format's makers document it, and why.
An entry that differs no longer is a fault of this list: tests fail then."""

TEMPLATES = {
    "construct/encode": "there are no bytes",
    "construct/numbers": "whole numbers have 64 bits",
}

# By format and case; their text is content.
FORMATS = {}
