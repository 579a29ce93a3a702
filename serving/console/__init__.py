"""The console: what people see of the job and do with it, in a browser, served by the process of the API under `/console`.

`mount` puts it on the service's FastAPI app. NiceGUI keeps its pages in one global application, so a process has one console. All
that a browser loads is served from here: it works without a network.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from nicegui import app as nicegui_app
from nicegui import ui

from models.config import Configuration
from serving.console.access import ADMIN, Access
from serving.console.desk import Desk, JobWatch
from serving.console.feed import Feed
from serving.console.flink import FlinkClient
from serving.console.frame import STATIC, Page, register
from serving.console.pages.controls import controls
from serving.console.pages.dead_letters import dead_letters
from serving.console.pages.experiments import experiments
from serving.console.pages.live import live
from serving.console.pages.user import user
from serving.console.pages.why import why
from serving.service import Service

ROOT = "/console"

PAGES = (
    Page("/", "Live", "How much comes, how fast it is answered, how good it is, and whether everything behind it is well.", live),
    Page("/user", "User", "What one user did and is shown, and why. Act as this user and watch the next slate come.", user),
    Page("/why", "Why", "A slate taken apart: where its items come from, what they were ranked by, and what chance and rules did.", why),
    Page(
        "/experiments",
        "Experiments",
        "Arms and what they earn, what the policies have learned, which version of the ranker serves.",
        experiments,
    ),
    Page("/controls", "Controls", "Rules that change slates while the job runs. Each is checked before it is sent.", controls, scope=ADMIN),
    Page(
        "/dead-letters",
        "Dead letters",
        "Records that the job could not use: each with its reason, and a button to send it again.",
        dead_letters,
    ),
)


def mount(
    app: FastAPI, service: Service, configuration: Configuration, *, scopes_of: Callable[[str], frozenset[str] | None] | None
) -> None:
    """Put the console on an app, and let `/` lead to it.

    Parameters
    ----------
    service : what API and console call alike; it is started and stopped by the app
    configuration : the whole configuration
    scopes_of : the scopes of a token, None where there is no such token; None instead of it where no tokens are configured
    """
    service.watcher = feed = Feed(configuration.kafka)
    watch = JobWatch(FlinkClient(configuration.flink.jobmanager, job_name=configuration.flink.job_name))
    desk = Desk(service, feed, watch, configuration, Access(scopes_of))
    register(desk, PAGES, root=ROOT)
    nicegui_app.add_static_files(STATIC, Path(__file__).parent / "static")
    watching: list[asyncio.Task[None]] = []

    async def begin() -> None:
        feed.start()
        watching.append(asyncio.create_task(watch.run()))

    async def end() -> None:
        for task in watching:
            task.cancel()
        await asyncio.to_thread(feed.close)

    nicegui_app.on_startup(begin)
    nicegui_app.on_shutdown(end)
    for path in ("/", ROOT):
        app.add_api_route(path, lambda: RedirectResponse(f"{ROOT}/"), include_in_schema=False)
    ui.run_with(
        app,
        mount_path=ROOT,
        title="flinkrec",
        dark=None,
        tailwind=False,
        show_welcome_message=False,
        # sessions end with the process, as what they may do is kept in it
        storage_secret=secrets.token_urlsafe(32),
        session_middleware_kwargs={"same_site": "strict", "session_cookie": "flinkrec-console", "path": ROOT},
    )
