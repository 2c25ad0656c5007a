"""Write a number with its noun, in the singular or the plural."""


def counted(number: float, noun: str, plural: str = "") -> str:
    """Return the number and the noun: `1 server`, `2 servers`. `plural` is the plural of a noun that takes more than an s."""
    return f"{number:g} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"
