"""The one exception that the commands turn into a line and exit code 2."""


class InputError(ValueError):
    """The request, or data that it names, is wrong. The message is one line for the user."""


def reason(error):
    """An OSError in a few words, without its errno and path; anything else as one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())
