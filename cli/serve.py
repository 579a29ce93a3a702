"""`flinkrec serve`: recommendations over HTTP."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG

# an open console never ends by itself
GRACE_S = 3


def serve(
    *,
    config: Annotated[Path | None, CONFIG] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of the configuration's.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, likewise; 0: any that is free.")] = None,
    store: Annotated[
        Path | None, typer.Option(help="Directory of the store; by default one under FLINKREC_HOME for these topics.")
    ] = None,
) -> None:
    """Serve recommendations over HTTP, and take events.

    Without --config it serves the job that was submitted last. It starts without Kafka too, and answers from its store.
    """
    from cli.configuration import load_configuration, submitted_configuration
    from cli.stack import Home
    from serving.guard import LOOPBACK

    console = Console(highlight=False, markup=False, soft_wrap=True)
    home = Home.from_environment()
    configuration = load_configuration(
        config or submitted_configuration(),
        {"kafka": {"bootstrap_servers": bootstrap_servers}, "serving": {"host": host, "port": port}},
    )
    serving = configuration.serving
    if not serving.tokens and serving.host not in LOOPBACK:
        console.print(f"There are no tokens: everybody who reaches {serving.host} may read, write and erase (serving.tokens).")
    import uvicorn
    from confluent_kafka import KafkaException

    from models.heap import settle
    from models.topics import RECOMMENDATIONS, topic_name
    from serving.app import make_app
    from serving.logs import log_to_stderr
    from serving.service import Service
    from serving.store import StoreInUse

    directory = store or home.serving / topic_name(configuration.kafka.topic_prefix, RECOMMENDATIONS)
    try:
        service = Service(configuration, directory)
        app = make_app(service, configuration, console=True)
    except StoreInUse as error:
        raise UserError(f"{error}: one `flinkrec serve` a store; name another with --store") from None
    except OSError as error:
        raise UserError(f"--store {directory}: cannot be made: {error.strerror}") from None
    except KafkaException as error:
        raise UserError(f"kafka.client_properties: {error.args[0].str()}") from None
    log_to_stderr()
    listening = _listen(serving.host, serving.port)
    shown = f"[{serving.host}]" if ":" in serving.host else serving.host
    console.print(
        f"Serving {configuration.kafka.topic_prefix or 'the topics'} of Kafka at {configuration.kafka.bootstrap_servers} on "
        f"http://{shown}:{listening.getsockname()[1]}, the console at /console/, the API documented at /docs. Ctrl-C ends it."
    )
    settings = uvicorn.Config(app, log_config=None, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S)
    server = uvicorn.Server(settings)
    settle()
    # uvicorn ends in good order first, and then raises what it was interrupted by
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
