"""Networks by the kind and the fields that the header of a weights file holds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmdiff.errors import InputError
from mmdiff.models.transformer import Transformer
from mmdiff.models.unet import UNet

KINDS = {"unet": UNet, "transformer": Transformer}
Network = UNet | Transformer


def make_network(*, kind: str = "unet", **fields: Any) -> Network:
    """Return a network of a kind, one of `KINDS`, with these fields."""
    return _type(kind)(**fields)


def fields_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kind, and those of the settings that a network of it has."""
    names = {field.name for field in dataclasses.fields(_type(settings["kind"]))}
    own = {name: value for name, value in settings.items() if name in names}
    return {"kind": settings["kind"], **own}


def _type(kind):
    if kind not in KINDS:
        raise InputError(
            f"no network is called {kind!r}. Use {' or '.join(KINDS)} for `model.kind`."
        )
    return KINDS[kind]
