"""Write a number with its noun, in the singular or the plural."""


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return the number and the noun. `plural` is the plural of a noun that takes more than an s.

    >>> counted(1, "server"), counted(2, "server"), counted(0, "entry", "entries")
    ('1 server', '2 servers', '0 entries')
    """
    return f"{number:g} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"
