"""Flink's own command line client, by which jobs are submitted, to the local cluster or to any other.

It is started directly, as the processes of the cluster are (`cli.stack.flink`).
"""

from __future__ import annotations

import subprocess
import sys

import yaml

from cli.stack import flink
from cli.stack.jvm import SMALL_JVM
from cli.stack.paths import Home

_CLIENT_CLASS = "org.apache.flink.client.cli.CliFrontend"


def run(home: Home, action: str, *args: str, jobmanager: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the client and return what it printed.

    Parameters
    ----------
    home : of its jars, configuration and log
    action, args : those of ``bin/flink``, such as ``run`` and ``-d -py job.py``
    jobmanager : ``host:port`` of the REST interface of a cluster elsewhere; None for the local one of this home

    Raises
    ------
    UserError
        When the jars have not been fetched.
    """
    flink.empty_opt(home)
    if jobmanager is None:
        conf, where = home.flink_conf, []
    else:
        # the local one's says where that cluster is, in ways that go before -m
        conf, where = home.client_conf, ["-m", jobmanager]
        _prepare(home)
    return subprocess.run(
        ["java", *java_options(home), "-classpath", flink.classpath(home), _CLIENT_CLASS, action, *where, *args],
        env=flink.environment(home) | {"FLINK_CONF_DIR": str(conf)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def java_options(home: Home) -> list[str]:
    """Of the JVM that it runs in."""
    return [
        *flink.shipped_java_options(),
        *SMALL_JVM,
        f"-Dlog.file={home.logs / 'client.log'}",
        f"-Dlog4j.configurationFile={(flink.distribution() / 'conf' / 'log4j-cli.properties').as_uri()}",
    ]


def _prepare(home: Home) -> None:
    """What a home needs in which no stack was ever started."""
    home.create()
    flink.link_jars(home)
    (home.client_conf / "config.yaml").write_text(yaml.safe_dump({"python.client.executable": sys.executable}))
