"""The one exception that the commands turn into a line and exit code 2; what an error is of."""

import errno

# Of an OSError: the machine lacks something for now, whatever was asked for
_LACKING = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ENOMEM),
    *(errno.EAGAIN, errno.EMFILE, errno.ENFILE),
)
# How libraries say that memory ran out, in lower case without spaces
_NO_MEMORY = (
    *("resourceexhausted", "outofmemory", "oomwhenallocating", "badalloc"),
    *("unabletoallocate", "failedtoallocatememory", "cannotallocatememory", "can'tallocate"),
)


class InputError(ValueError):
    """The request, or data that it names, is wrong. The message is one line for the user."""


def reason(error):
    """An OSError in a few words, without its errno and path; anything else as one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def is_memory(error):
    """Whether an error, or one that it came of, says that something did not fit into memory."""
    return any(map(_is_memory, _chain(error)))


def is_machines(error):
    """Whether an error, or one that it came of, says that the machine lacks disk or memory: nothing
    is wrong with what was asked for, and another time it may do."""
    return any(getattr(e, "errno", None) in _LACKING or _is_memory(e) for e in _chain(error))


def _chain(error):
    """An error, and those that it came of."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_memory(error):
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # of TensorFlow, JAX and PyTorch, of HDF5 and of C++
    text = f"{type(error).__name__} {error}"[:2000].lower().replace("_", "").replace(" ", "")
    return any(words in text for words in _NO_MEMORY)
