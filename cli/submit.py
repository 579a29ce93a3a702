"""`flinkrec submit`: bring the job to a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.errors import UserError
from cli.modelfile import MODEL, read_model

BOOTSTRAP = typer.Option(help="Kafka to use, HOST:PORT[,...], instead of the configuration's or the local one.")
JOB = typer.Option(help="recommend, or monitor: of what is written on texts, with alerts (docs/domains/opinion.md). Both run side by side.")
JOBMANAGER = typer.Option(help="Flink to use, HOST:PORT of its REST interface, likewise.")
CONFIG = typer.Option(help="YAML file of the configuration; without it the defaults (conf/default.yaml).")


def submit(
    *,
    config: Annotated[Path | None, CONFIG] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
    jobmanager: Annotated[str | None, JOBMANAGER] = None,
    model: Annotated[Path | None, MODEL] = None,
    job: Annotated[Literal["recommend", "monitor"], JOB] = "recommend",
) -> None:
    """Submit a job, in place of one of its kind that runs.

    The configuration is checked as a whole before anything starts. Topics that are missing are created. On the local stack the
    TaskManagers are restarted first where they have imported other code, so that they run it as it is now.
    """
    from cli.cluster import submit_job
    from cli.configuration import target_configuration
    from cli.topics import JOB_TOPICS, MONITOR_TOPICS, create_topics

    console = Console(highlight=False)
    configuration = target_configuration(
        config, {"kafka": {"bootstrap_servers": bootstrap_servers}, "flink": {"jobmanager": jobmanager}}
    )
    if job == "monitor" and model is not None:
        raise UserError("--model is of the recommender; the monitor learns from the topic labels")
    read_model(model, configuration)
    created = create_topics(configuration.kafka, MONITOR_TOPICS if job == "monitor" else JOB_TOPICS)
    if created:
        console.print(f"Created topics {', '.join(created)}.", soft_wrap=True)
    with console.status("submitting") as spinner:
        say = spinner.update if console.is_terminal else console.print
        job_id = submit_job(configuration, progress=say, model=model, job=job)
    console.print(
        f"Job {job_id} runs on http://{configuration.flink.jobmanager}, with Kafka at "
        f"{configuration.kafka.bootstrap_servers}.",
        soft_wrap=True,
    )
