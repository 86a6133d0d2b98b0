"""A stolen terminal at the real mosquitto with the configuration that we ship: whose place it can take."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt

from simulators.broker import HOST, mosquitto_binary, password_hash
from support.brokers import NEEDS_MOSQUITTO, certificate
from support.running import free_port
from terminals.seal import report_key, seal_report
from terminals.transport import ToGroup
from terminals.transports.mqtt import Endpoint, MqttTransport
from terminals.wire import Probe

DEPLOY = Path(__file__).parents[2] / "deploy"
WAIT = 30
pytestmark = NEEDS_MOSQUITTO


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def shipped(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """deploy/mosquitto.conf and deploy/acl.txt, with our own certificates and ports: (tls, loopback)."""
    authority = certificate("ca", folder, None)
    for name in ("server", "t1", "t2"):
        certificate(name, folder, authority)
    (folder / "passwd").write_text(f"controller:{password_hash('c')}\n")
    tls, plain = free_port(), free_port()
    text = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    for old, new in (
        ("/etc/mosquitto/fenghuo-acl.txt", str(DEPLOY / "acl.txt")),
        ("/etc/mosquitto/fenghuo-passwd", str(folder / "passwd")),
        ("/etc/mosquitto/certs/", f"{folder}/"),
        ("/var/lib/mosquitto/", f"{folder}/"),
        ("listener 8883", f"listener {tls} {HOST}"),
        ("listener 1883 127.0.0.1", f"listener {plain} {HOST}"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "conf").write_text(text + "user root\n", encoding="utf-8")
    binary = mosquitto_binary()
    assert binary is not None
    process = _started([binary, "-c", str(folder / "conf")])
    try:
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                _, writer = await asyncio.open_connection(HOST, plain)
                writer.close()
                break
            except OSError:
                assert process.poll() is None
                await asyncio.sleep(0.02)
        yield tls, plain
    finally:
        process.terminate()
        process.wait(WAIT)


def terminal(folder: Path, port: int, name: str, claimed: str) -> aiomqtt.Client:
    """With the certificate of `name`, claiming to be `claimed` in all that can be claimed."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return aiomqtt.Client(
        "localhost",
        port,
        identifier=claimed,
        username=claimed,
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=WAIT,
        tls_context=context,
    )


async def test_a_stolen_terminal_cannot_take_the_controllers_place_nor_a_neighbours(tmp_path: Path) -> None:
    async with shipped(tmp_path) as (tls, plain):
        heard: list[tuple[str, bytes]] = []
        lost: list[bool] = []
        alarms: list[str] = []

        async def changed(up: bool) -> None:
            lost.extend([] if up else [True])

        transport = MqttTransport(Endpoint(HOST, plain, "controller", "c"), "zhouqu", alarms.append)
        running = asyncio.create_task(transport.run(lambda t, p: heard.append((t, p)), changed))
        try:
            async with asyncio.timeout(WAIT):
                while not transport.connected:
                    await asyncio.sleep(0.02)
            async with terminal(tmp_path, tls, "t2", "t2") as neighbour:
                await neighbour.subscribe("fenghuo/zhouqu/cmd/g/all", qos=1)
                for claimed in ("fenghuo-zhouqu-controller", "controller", "t2"):
                    async with terminal(tmp_path, tls, "t1", claimed) as thief:
                        # What it subscribes to and says in another's name goes nowhere.
                        await thief.subscribe("fenghuo/zhouqu/rpt/#", qos=1)
                        await thief.publish("fenghuo/zhouqu/rpt/t2", b"lie", qos=1)
                        await thief.publish("fenghuo/zhouqu/ctl/claim", b"mine", qos=1, retain=True)
                await transport.send(ToGroup("all"), b"still ours", lifetime_s=30, sure=True)
                async with asyncio.timeout(WAIT):
                    async for message in neighbour.messages:
                        assert message.payload == b"still ours"
                        break
                said = seal_report(Probe("t2", "p" * 32), "t2", report_key(bytes(32), "t2"))
                await neighbour.publish("fenghuo/zhouqu/rpt/t2", said, qos=1)
            async with asyncio.timeout(WAIT):
                while not heard:
                    await asyncio.sleep(0.02)
            assert heard == [("t2", said)]
            assert lost == []
            assert alarms == []
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_without_that_one_line_it_could(tmp_path: Path) -> None:
    """Both listeners, and the generated file too: a line that somebody tidies away would open it again."""
    from controller.brokers import configuration

    shipped_text = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    assert shipped_text.count("use_username_as_clientid true") == shipped_text.count("\nlistener ")
    for certificates in (True, False):
        made = configuration(port=8883, terminals=10, certificates=certificates)
        assert made.count("use_username_as_clientid true") == made.count("\nlistener ")
