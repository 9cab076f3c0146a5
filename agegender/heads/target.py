"""What an explanation explains: one number that a head gives for a photo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One number that the model gives for a photo.

    Attributes
    ----------
    key : str
        Unique among the targets of a model, as JSON uses it: "age", "gender", "expression_happy".
    name : str
        For people: "age", "gender (female)", "expression: happy". What stands in brackets says which way is up.
    unit : str
        "years", "log-odds".
    low_words, high_words : str
        What a part of the face does that lowers or raises it: "makes younger", "speaks for “female”".
    """

    key: str
    name: str
    unit: str
    low_words: str = "lowers it"
    high_words: str = "raises it"

    @property
    def title(self) -> str:
        """The name without what stands in brackets."""
        return self.name.split(" (")[0]

    @property
    def class_name(self) -> str:
        """Of log-odds the class that they speak for.

        >>> Target("gender", "gender (female)", "log-odds").class_name, Target("m", "mood: calm", "log-odds").class_name
        ('female', 'calm')
        """
        return self.name.removeprefix(self.title).strip(" ()") or self.name.partition(": ")[2]

    @property
    def is_log_odds(self) -> bool:
        """Whether it speaks for or against a class, rather than being a number in a unit."""
        return self.unit == "log-odds"
