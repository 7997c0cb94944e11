"""What a model can be trained on, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """A way of putting a regression target to a model; ask it what it has rather than for its name.

    Attributes
    ----------
    name : str
    has_classes : bool
        Whether the model has one output a class, and a decoder turns them into a number.
    has_code : bool
        Whether these outputs, pi, are trained towards the code psi(y) of an encoder.
    one_hot : bool
        Whether that code is the bin of the target alone.
    learns_code : bool
        Whether the code is learned from the targets, in place of one that is given.
    moves_code : bool
        Whether encoder and decoder go on learning along with the model.

    Examples
    --------
    >>> SCHEMES["pretrained"].learns_code, SCHEMES["pretrained"].moves_code
    (True, False)
    >>> [scheme.name for scheme in SCHEMES.values() if not scheme.has_distribution]
    ['least_squares', 'softmax_least_squares']
    """

    name: str
    has_classes: bool = True
    has_code: bool = True
    one_hot: bool = False
    learns_code: bool = False
    moves_code: bool = False

    @property
    def has_distribution(self) -> bool:
        """Whether pi is itself a predictive distribution: where it is trained towards a code."""
        return self.has_code

    @property
    def has_kernel(self) -> bool:
        """Whether the code is that of a kernel which the user picks."""
        return self.has_code and not (self.one_hot or self.learns_code)

    @property
    def trains_decoder(self) -> bool:
        """Whether the decoder is trained with the model, in place of being fitted to the codes before."""
        return self.moves_code or (self.has_classes and not self.has_code)


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("least_squares", has_classes=False, has_code=False),
        Scheme("softmax_least_squares", has_code=False),
        Scheme("hard", one_hot=True),
        Scheme("soft"),
        Scheme("pretrained", learns_code=True),
        Scheme("end_to_end", learns_code=True, moves_code=True),
    )
}
"""All schemes by name, from the baselines to the one that learns the most."""
