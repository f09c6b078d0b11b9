"""What may be shown of a field that holds a path or a secret: a path, if it is certainly one."""

from __future__ import annotations

from pathlib import Path

__all__ = ["shown_path"]


def shown_path(material: str) -> str:
    """The path for a message, or words in its place.

    A field for keys takes whatever is neither PEM nor PKCS#12 nor JSON for a path, also a password that was pasted
    into it. Only what lies in a folder that is there is a path and no secret; a folder in ``/`` or here proves nothing,
    since a secret may begin with a slash.
    """
    folder = Path(material).parent
    try:
        certain = folder not in (Path("/"), Path()) and folder.is_dir()
    except (OSError, ValueError):
        # Too long for a name, or with a character that none has.
        certain = False
    return repr(material) if certain else "the path (not shown, as it may be a secret)"
