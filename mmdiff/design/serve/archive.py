"""Files as a ZIP archive that is made while it is sent: it is never whole anywhere."""

import io
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

BLOCK = 1 << 18
_PACKED = (".3mf", ".glb", ".npz", ".png")  # are compressed already


class _Sink(io.RawIOBase):
    """Takes what an archive writes, in order; `take` empties it."""

    def __init__(self):
        self._parts, self._size = [], 0

    def writable(self):
        return True

    def write(self, data):
        self._parts.append(bytes(data))
        self._size += len(data)
        return len(data)

    def tell(self):
        return self._size

    def take(self):
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def stream(folder: str, paths: Sequence[pathlib.Path]) -> Iterator[bytes]:
    """Yield the parts of an archive that holds files below a folder of that name."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for path in paths:
            entry = zipfile.ZipInfo.from_file(path, f"{folder}/{path.name}")
            packed = path.suffix in _PACKED
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w") as member:
                while block := source.read(BLOCK):
                    member.write(block)
                    yield sink.take()
            yield sink.take()
    yield sink.take()
