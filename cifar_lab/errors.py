"""The one exception that the commands turn into a line and exit code 2; what an error is of."""

import errno

# Of an OSError: the machine lacks something for now, whatever was asked for
_LACKING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOMEM),
    *(errno.EAGAIN, errno.EMFILE, errno.ENFILE),
)


class InputError(ValueError):
    """The request, or data that it names, is wrong. The message is one line for the user."""


def reason(error):
    """An OSError in a few words, without its errno and path; anything else as one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def is_machines(error):
    """Whether an error, or one that it came of, says that the machine lacks disk or memory: nothing
    is wrong with what was asked for, and another time it may do."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _LACKING:
            return True
        # of TensorFlow, JAX and PyTorch
        text = f"{type(error).__name__} {error}"[:2000].lower().replace("_", "").replace(" ", "")
        if "resourceexhausted" in text or "outofmemory" in text:
            return True
        error = error.__cause__ or error.__context__
    return False
