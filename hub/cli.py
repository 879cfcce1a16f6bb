"""The command line of the hub: `hub up`, `hub serve`, `hub listen` and what keeps them running."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from hub.settings import Settings

app = typer.Typer(
    help="A notification hub for sockets and WeChat.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
key = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(key, name="key")

Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="Default: the next free one from 8080 on.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on. Default: 127.0.0.1")]
Data = Annotated[Path | None, typer.Option(help="The data folder. Default: data/ in the project")]


@app.command()
def up(
    *,
    port: Port = None,
    host: Host = None,
    data: Data = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every process's log.")] = False,
) -> None:
    """Start everything on this machine: engine, database, worker and web."""
    settings = _settings(port=port, host=host, data_dir=data)
    from hub.embedded import up as one_machine

    one_machine.main(settings, verbose=verbose)


@app.command()
def serve(
    *,
    port: Port = None,
    host: Host = None,
    role: Annotated[
        str | None,
        typer.Option(help="api: REST and console. gateway: sockets and pulling. all: both. Default: all"),
    ] = None,
) -> None:
    """Run one web process; everything it needs is named by the environment."""
    settings = _settings(port=port, host=host, role=role)
    from hub.embedded import Trouble
    from hub.embedded.web import serve as serve_web
    from hub.store.secrets import SecretBox

    try:
        SecretBox(settings.secret_key.get_secret_value())
    except ValueError as error:
        raise Trouble(str(error)) from None
    serve_web(settings)


@app.command()
def listen(user: Annotated[str, typer.Argument(help="The user to be.")], *, data: Data = None) -> None:
    """Open a live socket as a user of the hub on this data folder, and print what arrives."""
    settings = _settings(data_dir=data)
    from hub.embedded import listen as live
    from hub.embedded.folder import DataFolder

    live.main(DataFolder(settings.data_dir), user)


@app.command()
def migrate() -> None:
    """Bring the database to this version."""
    settings = _settings()
    from hub.store.migrate import upgrade

    with _told():
        upgrade(settings)


@app.command(hidden=True)
def prepare() -> None:
    """Migrate, and make the data folder's first API key where there is none."""
    settings = _settings()
    from hub.embedded.folder import DataFolder
    from hub.store.firstrun import ensure_default_key
    from hub.store.migrate import upgrade

    upgrade(settings)
    DataFolder(settings.data_dir).keep_api_key(ensure_default_key(settings))


@key.command("create")
def key_create(
    *,
    name: Annotated[str, typer.Option("--app", help="The app the key is for; made if it is new.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated scopes.")] = "",
) -> None:
    """Make an API key and print it; it is shown only this once."""
    settings = _settings()
    from hub.store.firstrun import create_key

    with _told():
        typer.echo(create_key(settings, app=name, scopes=[part for part in scopes.split(",") if part]))


@app.command()
def export(
    *,
    tenant: Annotated[str, typer.Option("--app", help="The app.")],
    out: Annotated[Path, typer.Option(help="The file to write, for its owner's eyes only.")],
    user: Annotated[str | None, typer.Option(help="Only what this user has.")] = None,
    conversation: Annotated[str | None, typer.Option(help="Only this conversation.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Only messages since this time (UTC).")] = None,
    data: Data = None,
) -> None:
    """Write an app, a user or a conversation to a file, as lines of JSON."""
    settings = _settings(data_dir=data)
    from hub.core.export import Wanted
    from hub.core.message import AppId, ConversationId
    from hub.embedded import Trouble
    from hub.exporting import export as to_file

    if user is not None and conversation is not None:
        message = "give --user or --conversation, not both"
        raise Trouble(message)
    room = None if conversation is None else ConversationId(conversation)
    moment = None if since is None else since.replace(tzinfo=since.tzinfo or UTC)
    with _told():
        count = to_file(settings, Wanted(AppId(tenant), user, room, moment), out)
    typer.echo(f"{out}: {count:,} lines")


@app.command()
def version() -> None:
    """Print the version."""
    import hub

    typer.echo(hub.__version__)


@contextmanager
def _told() -> Iterator[None]:
    """What these commands can fail with, as a sentence."""
    from hub.core.errors import HubError
    from hub.embedded import Trouble

    try:
        yield
    except HubError as error:
        raise Trouble(error.detail) from None
    except ValueError as error:
        raise Trouble(str(error)) from None


def _settings(**given: Any) -> Settings:
    """The environment's settings with what the command line gives instead."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from hub.embedded import Trouble
    from hub.settings import Settings

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        return _with_own_secret(settings)
    except ValidationError as error:
        raise Trouble("; ".join(_sentence(each) for each in error.errors())) from None
    except SettingsError as error:
        raise Trouble(f"a HUB_ setting cannot be read: {error}") from None


def _with_own_secret(settings: Settings) -> Settings:
    """The secret that `./run` made for the data folder counts where the environment gives none."""
    from pydantic import SecretStr

    from hub.embedded.folder import DataFolder

    kept = None if settings.secret_key.get_secret_value() else DataFolder(settings.data_dir).kept_secret_key()
    return settings if kept is None else settings.model_copy(update={"secret_key": SecretStr(kept)})


def _sentence(error: ErrorDetails) -> str:
    where = "_".join(map(str, error["loc"])).upper()
    text = error["msg"].removeprefix("Value error, ")
    return f"HUB_{where}: {text}" if where else text


def main() -> None:
    """Runs the command; trouble is a sentence, not a traceback."""
    from hub.embedded import Trouble

    try:
        app(prog_name="hub")
    except Trouble as trouble:
        sys.stderr.write(f"hub: {trouble}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
