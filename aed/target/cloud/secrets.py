"""Credentials that leave this process for the service only: its answers are cleaned of them before they are shown."""

import html
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

_TOKENS = re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*){0,4}|(?i:bearer)\s+[^\s\"'<>,;]+")
"""JSON web tokens begin with ``{"`` in base64."""


class Secrets:
    """Texts that are never shown."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def __repr__(self) -> str:
        return f"Secrets({len(self._texts)} texts)"

    def add(self, *texts: str | None) -> None:
        """Adds texts, in every form in which a server may send them back."""
        for text in filter(None, texts):
            forms = (text, quote(text), quote(text, safe=""), quote_plus(text), html.escape(text))
            self._texts.update((*forms, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]))

    def clean(self, text: str) -> str:
        """``text`` with stars instead of credentials."""
        text = text.encode("utf-8", errors="replace").decode("utf-8")  # halves of surrogate pairs cannot be written
        for secret in sorted(self._texts, key=len, reverse=True):
            text = text.replace(secret, "***")
        return _TOKENS.sub("***", text)

    def line(self, text: str, most: int = 300) -> str:
        """``text``, cleaned, in one line of printable characters, no longer than ``most``."""
        printable = "".join(letter if letter.isprintable() else " " for letter in self.clean(text))
        words = " ".join(printable.split())
        return words if len(words) <= most else f"{words[: most - 3]}..."

    def clean_json(self, value: Any) -> Any:
        """A JSON value, every text and key in it cleaned.

        Raises:
            RecursionError: It is too deep.
        """
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self.clean_json(item) for item in value]
        if isinstance(value, dict):
            return {self.clean(key): self.clean_json(item) for key, item in value.items()}
        return value
