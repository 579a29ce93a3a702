"""`flinkrec submit`: bring the job to a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.modelfile import MODEL, read_model

BOOTSTRAP = typer.Option(help="Kafka to use, HOST:PORT[,...], instead of the configuration's or the local one.")
JOBMANAGER = typer.Option(help="Flink to use, HOST:PORT of its REST interface, likewise.")
CONFIG = typer.Option(help="YAML file of the configuration; without it the defaults (conf/default.yaml).")


def submit(
    *,
    config: Annotated[Path | None, CONFIG] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
    jobmanager: Annotated[str | None, JOBMANAGER] = None,
    model: Annotated[Path | None, MODEL] = None,
) -> None:
    """Submit the job, in place of one that runs.

    The configuration is checked as a whole before anything starts. Topics that are missing are created. On the local stack the
    TaskManagers are restarted first where they have imported other code, so that they run it as it is now.
    """
    from cli.cluster import submit_job
    from cli.configuration import target_configuration
    from cli.topics import create_topics

    console = Console(highlight=False)
    configuration = target_configuration(
        config, {"kafka": {"bootstrap_servers": bootstrap_servers}, "flink": {"jobmanager": jobmanager}}
    )
    read_model(model, configuration)
    created = create_topics(configuration.kafka)
    if created:
        console.print(f"Created topics {', '.join(created)}.", soft_wrap=True)
    with console.status("submitting") as spinner:
        say = spinner.update if console.is_terminal else console.print
        job_id = submit_job(configuration, progress=say, model=model)
    console.print(
        f"Job {job_id} runs on http://{configuration.flink.jobmanager}, with Kafka at "
        f"{configuration.kafka.bootstrap_servers}.",
        soft_wrap=True,
    )
