"""The files in deploy/: what they promise is true of a real mosquitto, and of systemd's own reading."""

import asyncio
import configparser
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.broker import HOST, MosquittoBroker, mosquitto_binary, password_hash
from support.brokers import certificate, needs_mosquitto

DEPLOY = Path(__file__).parents[2] / "deploy"
WAIT = 20
USERS = {"controller": "c", "t1": "one", "t2": "two"}


def client(port: int, user: str, **more: object) -> aiomqtt.Client:
    options = {"username": user, "password": USERS[user], **more}
    return aiomqtt.Client(
        HOST, port, identifier=f"{user}-x", protocol=aiomqtt.ProtocolVersion.V5, timeout=WAIT, **options
    )  # type: ignore[arg-type]


async def heard(subscriber: aiomqtt.Client, until: str) -> list[str]:
    """Topics that arrive, up to and with `until`."""
    topics: list[str] = []
    async with asyncio.timeout(WAIT):
        async for message in subscriber.messages:
            topics.append(str(message.topic))
            if topics[-1] == until:
                break
    return topics


@asynccontextmanager
async def broker_with_acl() -> AsyncIterator[MosquittoBroker]:
    async with MosquittoBroker(users=USERS, acl=DEPLOY / "acl.txt") as broker:
        yield broker


@needs_mosquitto
async def test_a_terminal_can_say_only_what_is_its_own_and_never_a_command() -> None:
    end = "fenghuo/zhouqu/rpt/t1"
    forbidden = [
        "fenghuo/zhouqu/rpt/t2",
        "fenghuo/zhouqu/rpt/t1/deeper",
        "fenghuo/zhouqu/rpt/t1-x",
        "fenghuo/zhouqu/here/t2",
        "fenghuo/zhouqu/cmd/t/t1",
        "fenghuo/zhouqu/cmd/t/t2",
        "fenghuo/zhouqu/cmd/g/all",
        "fenghuo/zhouqu",
        "other/topic",
    ]
    async with broker_with_acl() as broker, client(broker.port, "controller") as controller:
        await controller.subscribe("#", qos=1)
        async with client(broker.port, "t1") as terminal:
            for topic in forbidden:
                # MQTT 5 brokers answer 135, not authorised; mosquitto 2.0 does so in the PUBACK.
                await terminal.publish(topic, b"x", qos=1)
            await terminal.publish("fenghuo/zhouqu/here/t1", b"x", qos=1)
            await terminal.publish(end, b"x", qos=1)
        assert await heard(controller, end) == ["fenghuo/zhouqu/here/t1", end]


@needs_mosquitto
async def test_a_terminal_hears_its_own_commands_and_the_groups_and_nothing_else() -> None:
    end = "fenghuo/zhouqu/cmd/t/t1"
    async with (
        broker_with_acl() as broker,
        client(broker.port, "controller") as controller,
        client(broker.port, "t1") as terminal,
    ):
        await terminal.subscribe("#", qos=1)
        for topic in (
            "fenghuo/zhouqu/cmd/t/t2",
            "fenghuo/zhouqu/rpt/t2",
            "fenghuo/zhouqu/here/t2",
            "fenghuo/zhouqu/cmd/g/all",
            "fenghuo/zhouqu/cmd/g/w01v01",
            "fenghuo/zhouqu/rpt/t1",
            end,
        ):
            await controller.publish(topic, b"x", qos=1)
        assert await heard(terminal, end) == [
            "fenghuo/zhouqu/cmd/g/all",
            "fenghuo/zhouqu/cmd/g/w01v01",
            end,
        ]


@needs_mosquitto
async def test_a_terminals_will_may_only_speak_for_itself() -> None:
    end = "fenghuo/zhouqu/here/t1"
    async with broker_with_acl() as broker, client(broker.port, "controller") as controller:
        await controller.subscribe("#", qos=1)
        for topic in ("fenghuo/zhouqu/here/t2", "fenghuo/zhouqu/cmd/g/all", end):
            try:
                async with client(broker.port, "t1", will=aiomqtt.Will(topic, b"gone", qos=1)) as terminal:
                    terminal._client.socket().shutdown(socket.SHUT_RDWR)
                    await heard(terminal, "never")
            except aiomqtt.MqttError:
                pass
        assert await heard(controller, end) == [end]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stderr=subprocess.PIPE)


@needs_mosquitto
async def test_the_production_configuration_starts_and_takes_a_terminals_id_from_itscertificate(
    tmp_path: Path,
) -> None:
    authority = certificate("ca", tmp_path, None)
    for name in ("server", "t1"):
        certificate(name, tmp_path, authority)
    (tmp_path / "passwd").write_text(f"controller:{password_hash('c')}\n")
    tls, plain = _free_ports(2)
    text = (DEPLOY / "mosquitto.conf").read_text(encoding="utf-8")
    for old, new in (
        ("/etc/mosquitto/fenghuo-acl.txt", str(DEPLOY / "acl.txt")),
        ("/etc/mosquitto/fenghuo-passwd", str(tmp_path / "passwd")),
        ("/etc/mosquitto/certs/", f"{tmp_path}/"),
        ("/var/lib/mosquitto/", f"{tmp_path}/"),
        ("listener 8883", f"listener {tls} {HOST}"),
        ("listener 1883 127.0.0.1", f"listener {plain} {HOST}"),
    ):
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "mosquitto.conf"
    config.write_text(text + "user root\n", encoding="utf-8")
    binary = mosquitto_binary()
    assert binary is not None
    process = _started([binary, "-c", str(config)])
    try:
        end = time.monotonic() + WAIT
        while time.monotonic() < end and process.poll() is None:
            try:
                socket.create_connection((HOST, plain), 1).close()
                break
            except OSError:
                await asyncio.sleep(0.02)
        assert process.poll() is None, process.stderr and process.stderr.read()
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        stranger = aiomqtt.Client(
            "localhost", tls, protocol=aiomqtt.ProtocolVersion.V5, timeout=5, tls_context=context
        )
        with pytest.raises(aiomqtt.MqttError):
            await stranger.__aenter__()
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        context.load_cert_chain(tmp_path / "t1.crt", tmp_path / "t1.key")
        # It claims to be somebody else by name and client id; the certificate decides.
        terminal = aiomqtt.Client(
            "localhost",
            tls,
            identifier="controller",
            username="controller",
            protocol=aiomqtt.ProtocolVersion.V5,
            timeout=WAIT,
            tls_context=context,
        )
        own = "fenghuo/zhouqu/rpt/t1"
        keep = Properties(PacketTypes.CONNECT)
        keep.SessionExpiryInterval = 3600
        async with client(plain, "controller", properties=keep, clean_start=False) as controller:
            await controller.subscribe("#", qos=1)
            async with terminal:
                await terminal.publish("fenghuo/zhouqu/cmd/g/all", b"x", qos=1)
                await terminal.publish(own, b"x", qos=1)
            assert await heard(controller, own) == [own]
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


def test_the_unit_keeps_the_promises_of_the_manual() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "fenghuo.service", encoding="utf-8")
    service = unit["Service"]
    assert "ORT_DISABLE_TELEMETRY=1" in service["Environment"].split()
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "3"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0", (
        "by default it gives up after five ends in ten seconds"
    )
    assert service["User"] == "fenghuo"
    assert service["StateDirectory"] == "fenghuo"
    assert service["StateDirectoryMode"] == "0700"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ExecStart"].split()[1:] == ["serve", "-c", "/etc/fenghuo/county.yaml"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "fenghuo.service").read_text(encoding="utf-8")
    unit = tmp_path / "fenghuo.service"
    unit.write_text(text.replace("/opt/fenghuo/bin/fenghuo", sys.executable), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert [line for line in done.stderr.splitlines() if "fenghuo.service" in line] == []
