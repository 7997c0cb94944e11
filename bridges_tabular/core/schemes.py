"""The schemes: what each learns of the target. Asked, never compared by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """What a scheme has."""

    name: str
    has_classes: bool
    has_code: bool
    learns_code: bool
    moves_code: bool

    @property
    def has_distribution(self) -> bool:
        """Whether pi itself is a distribution of the target."""
        return self.has_code


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("least_squares", False, False, False, False),
        Scheme("softmax_least_squares", True, False, False, False),
        Scheme("hard", True, True, False, False),
        Scheme("soft", True, True, False, False),
        Scheme("pretrained", True, True, True, False),
        Scheme("end_to_end", True, True, True, True),
    )
}
