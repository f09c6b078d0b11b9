"""Which conditions ``airflow imap4 explain`` is asked about: those of a stored trigger, or of an object in Python."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, AssetWatcher

from airflow_imap_provider.errors import SettingsError
from airflow_imap_provider.mail.conditions import Condition, Conditions
from airflow_imap_provider.mailbox.place import Place
from airflow_imap_provider.sensors.email import EmailSensor
from airflow_imap_provider.triggers.email import EmailTrigger

__all__ = ["Question", "question"]


@dataclass(frozen=True)
class Question:
    """What to explain.

    :param conditions: those that decide.
    :param conn_id: the connection; empty if nobody has said.
    :param folder: the folder.
    :param code_page: charset for text that declares none; empty is the connection's.
    :param places: how far a stored trigger has read the folder.
    """

    conditions: Conditions
    conn_id: str = ""
    folder: str = "INBOX"
    code_page: str = ""
    places: tuple[Place, ...] = ()


def question(args: argparse.Namespace) -> Question:
    """Return what the arguments of the command line ask.

    :raises SettingsError: if it is nothing, or several things.
    """
    if (args.asset is None) == (args.object is None):
        raise SettingsError(
            "nobody knows which conditions are meant.",
            stage="arguments",
            remedy="Give either --asset NAME, for the trigger of a watched asset, or --object FILE.py[:NAME].",
        )
    found = _of_asset(args.asset, args.watcher) if args.object is None else _of_object(args.object, args.watcher)
    found = replace(found, conn_id=args.conn_id or found.conn_id, folder=args.folder or found.folder)
    if not found.conn_id:
        raise SettingsError(
            "these conditions name no connection.",
            stage="arguments",
            remedy="Give its id: airflow imap4 explain CONN_ID --object ...",
        )
    if args.conn_id or args.folder:
        return replace(found, places=())  # they are those of the trigger's own folder
    return found


def _of_trigger(trigger: EmailTrigger) -> Question:
    return Question(Conditions.loads(trigger.conditions), trigger.imap4_conn_id, trigger.folder, trigger.code_page)


# --- stored -----------------------------------------------------------------------------------------------------------


def _of_asset(asset: str, watcher: str | None) -> Question:
    from airflow_imap_provider.commands.entries import open_entries
    from airflow_imap_provider.triggers.store import Stream

    stored = _stored(asset)
    chosen = [trigger for name, trigger in stored if watcher in (None, name)]
    if len(chosen) != 1:
        names = ", ".join(sorted(name for name, _ in stored))
        if not stored:
            problem = f"no email trigger is stored for an asset {asset!r}."
            remedy = (
                "Is its DAG unpaused, and the name right ('airflow assets list')? The trigger of a DAG file that is "
                "not deployed, or paused, is explained with --object FILE.py."
            )
        elif chosen or watcher is None:
            problem, remedy = f"the asset {asset!r} has several email triggers.", f"Give --watcher, one of: {names}."
        else:
            problem, remedy = (
                f"the asset {asset!r} has no watcher {watcher!r} with an email trigger.",
                f"It has: {names}.",
            )
        raise SettingsError(problem, stage="arguments", remedy=remedy)
    [trigger] = chosen
    key = Stream(trigger.imap4_conn_id, trigger.folder, trigger.place).key("place")
    with open_entries(asset, prefix=key) as assets:
        places = tuple(Place.from_json(place) for entries in assets if (place := entries.get(key)))
    return replace(_of_trigger(trigger), places=places)


def _stored(asset: str) -> list[tuple[str, EmailTrigger]]:
    """Return the email triggers that watch an asset, by their watchers' names."""
    from airflow.models.asset import AssetModel, AssetWatcherModel
    from airflow.models.trigger import Trigger
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = (
        select(AssetWatcherModel.name, Trigger)
        .join(AssetModel, AssetModel.id == AssetWatcherModel.asset_id)
        .join(Trigger, Trigger.id == AssetWatcherModel.trigger_id)
        .where(AssetModel.name == asset, Trigger.classpath == EmailTrigger().serialize()[0])
    )
    decoded: Callable[[Any], Any] = smart_decode_trigger_kwargs  # Airflow's is untyped
    with create_session() as session:
        rows = [(name, dict(trigger.kwargs)) for name, trigger in session.execute(query)]
    return [(name, EmailTrigger(**{key: decoded(value) for key, value in kwargs.items()})) for name, kwargs in rows]


# --- in Python --------------------------------------------------------------------------------------------------------


def _of_object(path: str, watcher: str | None) -> Question:
    where, _, name = path.rpartition(":") if ":" in path and not path.endswith(".py") else (path, "", "")
    module = _module(where)
    if name:
        found: Any = module
        for part in name.split("."):
            if not hasattr(found, part):
                raise SettingsError(
                    f"{where} has no {name!r}.", stage="arguments", remedy="Give a name that it defines."
                )
            found = getattr(found, part)
        candidates = list(_questions(found, name, watcher))
    else:
        triggers: dict[int, tuple[str, EmailTrigger]] = {}
        for known, value in vars(module).items():
            for trigger in _triggers(value, watcher):
                triggers.setdefault(id(trigger), (known, trigger))
        candidates = [(known, _of_trigger(trigger)) for known, trigger in triggers.values()]
    if len(candidates) == 1:
        return candidates[0][1]
    if candidates:
        names = ", ".join(dict.fromkeys(candidate for candidate, _ in candidates))
        problem, remedy = (
            f"{path} has several email triggers.",
            f"Name one: {where}:NAME, of {names}; or a watcher: --watcher NAME.",
        )
    else:
        problem = f"{path} has no email trigger."
        remedy = "Give a name, FILE.py:NAME, of an EmailTrigger, AssetWatcher, Asset, EmailSensor or conditions."
    raise SettingsError(problem, stage="arguments", remedy=remedy)


def _module(where: str) -> Any:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        file = Path(where).resolve()
        spec = importlib.util.spec_from_file_location(f"explained_{file.stem}", file)
        if spec is None or spec.loader is None or not file.is_file():
            raise FileNotFoundError(where)
        # As for Airflow: what stands beside it can be imported.
        sys.path.insert(0, str(file.parent))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(
            f"{where} cannot be imported: {type(error).__name__}: {error}",
            stage="arguments",
            remedy="Give the path of a Python file, or the name of a module that can be imported here.",
        ) from error
    return module


def _questions(found: Any, name: str, watcher: str | None) -> Iterator[tuple[str, Question]]:
    for trigger in _triggers(found, watcher):
        yield name, _of_trigger(trigger)
    if isinstance(found, EmailSensor):
        folder = found.folder if isinstance(found.folder, str) else found.folder[0]
        yield name, Question(Conditions.loads(found.conditions), found.imap4_conn_id, folder, found.code_page)
    if isinstance(found, (Conditions, Condition, list, tuple)):
        yield name, Question(found if isinstance(found, Conditions) else Conditions(found))


def _triggers(found: Any, watcher: str | None) -> Iterator[EmailTrigger]:
    if isinstance(found, EmailTrigger):
        yield found
    elif isinstance(found, AssetWatcher) and watcher in (None, found.name):
        yield from _triggers(found.trigger, watcher)
    elif isinstance(found, Asset):
        for each in found.watchers:
            yield from _triggers(each, watcher)
