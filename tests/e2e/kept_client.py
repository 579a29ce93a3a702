"""Flink's client in a JVM that is kept: a submission through it costs a quarter of one that starts its own (`cli.stack.client`)."""

from __future__ import annotations

import os
import subprocess

import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from cli.stack import Home, client, flink


class KeptClient:
    """What `cli.stack.client.run` does for the cluster of one home; for any other that is asked itself.

    The class that ``bin/flink`` starts is called with the same arguments, environment, configuration and JVM options; the script
    of the job runs in a Python process of its own, as ever.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._start_another = client.run
        self._gateway: JavaGateway | None = None

    def run(self, home: Home, action: str, *args: str, jobmanager: str | None = None) -> subprocess.CompletedProcess[str]:
        """As `cli.stack.client.run`."""
        if home.root != self._home.root or jobmanager is not None:
            return self._start_another(home, action, *args, jobmanager=jobmanager)
        if self._gateway is None:
            self._gateway = self._launched()
        jvm = self._gateway.jvm
        conf = str(home.flink_conf)
        frontend, configuration = jvm.org.apache.flink.client.cli.CliFrontend, jvm.org.apache.flink.configuration.GlobalConfiguration
        said = jvm.java.io.ByteArrayOutputStream()
        stream = jvm.java.io.PrintStream(said, True)
        jvm.java.lang.System.setOut(stream)
        jvm.java.lang.System.setErr(stream)
        loaded = configuration.loadConfiguration(conf)
        arguments = self._gateway.new_array(jvm.java.lang.String, 1 + len(args))
        for number, argument in enumerate((action, *args)):
            arguments[number] = argument
        code = frontend(loaded, frontend.loadCustomCommandLines(loaded, conf)).parseAndRun(arguments)
        return subprocess.CompletedProcess(arguments, code, said.toString(), "")

    def _launched(self) -> JavaGateway:
        flink.empty_opt(self._home)
        options = client.java_options(self._home)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in flink.environment(self._home).items():
                patch.setitem(os.environ, name, value)
            port = launch_gateway(classpath=flink.classpath(self._home), javaopts=options, die_on_exit=True)
        return JavaGateway(gateway_parameters=GatewayParameters(port=port))

    def close(self) -> None:
        """End the JVM, if there is one."""
        if self._gateway is not None:
            self._gateway.shutdown()
