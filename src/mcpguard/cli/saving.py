"""Writes new files whole or not at all, and never over one that is there unless told to."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

from mcpguard.stores.text import printable


def check_places(paths: list[Path], *, force: bool, option: str) -> None:
    """Say what is wrong with the places of files that are to be written, before anything is done for them.

    Raises:
        click.UsageError: there is no such directory, or a file is there already.
    """
    for path in paths:
        directory = path.absolute().parent
        if not directory.is_dir():
            raise click.UsageError(f"{option}: there is no directory {printable(str(directory))}.")
        if path.is_dir():
            raise click.UsageError(f"{option}: {printable(str(path))} is a directory; name a file.")
        if not force and os.path.lexists(path):
            raise click.UsageError(
                f"{printable(str(path))} is there already, and stays as it is; --force writes over it."
            )


def save_all(texts: dict[Path, str], *, force: bool) -> None:
    """Write every file beside its place first, and then put all of them there.

    Raises:
        click.ClickException: one cannot be written; what was there stays whole.
    """
    ready: list[tuple[Path, Path]] = []
    path = next(iter(texts))
    try:
        for path, text in texts.items():
            ready.append((_written(path, text), path))
        for temporary, path in ready:
            _place(temporary, path, force=force)
    except FileExistsError:
        raise click.UsageError(
            f"{printable(str(path))} is there already, and stays as it is; --force writes over it."
        ) from None
    except OSError as error:
        raise click.ClickException(f"{printable(str(path))} cannot be written: {error.strerror}") from None
    finally:
        for temporary, _ in ready:
            with suppress(OSError):
                temporary.unlink()


def _written(path: Path, text: str) -> Path:
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.absolute().parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.close()
            temporary.chmod(0o666 & ~_umask())
        except OSError:
            temporary.unlink()
            raise
    return temporary


def _place(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    # A link fails where a file is, also one that has just come; a renaming would take its place.
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(path):
            raise FileExistsError(str(path)) from None
        temporary.replace(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
