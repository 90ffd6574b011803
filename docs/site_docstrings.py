"""Docstrings as mkdocstrings reads them: `Example:` is a section of code."""

import griffe


class Examples(griffe.Extension):
    """Calls the section by the name that griffe knows."""

    def on_object(self, *, obj, **_):
        """Rename the section in a docstring."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
