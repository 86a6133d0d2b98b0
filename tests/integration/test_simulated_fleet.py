"""The simulated county against a real broker and a controller that really enrols, seals and listens."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiomqtt
import pytest

from simulators.broker import EmbeddedBroker
from simulators.faults import Fault, FaultSettings, outcome
from simulators.fleet import Fleet, FleetError, FleetOptions, FleetRefused, FleetReport, run_fleet
from simulators.scenarios import check, load
from support.fake_controller import TOKEN, WAIT, FakeController
from terminals.delivery import State
from terminals.wire import Targets

QUICK = FaultSettings(power_back_s=0.1, lost_reports=6, lost_commands=2, slow_s=0.3, late_s=0.5)
ME = "sim-00001"
T = TypeVar("T")


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
async def controller(broker: EmbeddedBroker) -> AsyncIterator[FakeController]:
    async with FakeController(broker.port) as fake:
        yield fake


def options(controller: FakeController, terminals: int = 1, **more: Any) -> FleetOptions:
    given: dict[str, Any] = {"fault_settings": QUICK}
    return FleetOptions(controller=controller.url, token=TOKEN, terminals=terminals, **(given | more))


@contextlib.asynccontextmanager
async def running(controller: FakeController, terminals: int = 1, **more: Any) -> AsyncIterator[Fleet]:
    fleet = Fleet(options(controller, terminals, **more))
    try:
        async with asyncio.timeout(WAIT):
            await fleet.start()
            await fleet.wait(fleet.ready)
        yield fleet
    finally:
        await fleet.stop()


async def until_connected(fleet: Fleet, count: int) -> None:
    async with asyncio.timeout(WAIT):
        while fleet.counts.connected != count:
            await asyncio.sleep(0.01)


# --- the good road -----------------------------------------------------------------------------------


@pytest.mark.parametrize("audio", ["fetch", "shared"])
async def test_twenty_terminals_enrol_learn_the_time_and_report_every_step_of_a_play(
    controller: FakeController, audio: str
) -> None:
    async with running(controller, 20, audio=audio) as fleet:
        assert len(controller.enrolled) == 20
        assert fleet.counts.with_time == 20
        await controller.play("b1", seconds=1.0)
        await controller.until("b1", 20)
        for terminal in controller.enrolled:
            assert controller.order[terminal] == ["accepted", "ready", "playing", "played"]
        assert controller.clip_requests == (20 if audio == "fetch" else 1)
        assert (fleet.counts.started, fleet.counts.finished) == (20, 20)


async def test_playing_is_paced_by_the_length_of_the_clip_its_repeats_and_the_speed(
    controller: FakeController,
) -> None:
    async with running(controller, speed=10):
        await controller.play("b1", seconds=1.5, repeats=2)
        await controller.until("b1", 1)
        at = {state: when for (_, state, _), (when, _) in controller.facts["b1"][ME].items()}
        assert at[State.PLAYED] - at[State.PLAYING] >= 299


async def test_a_clip_that_is_held_is_not_fetched_again(controller: FakeController) -> None:
    async with running(controller, 2):
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 2)
        await controller.play("b2", seconds=0.1)
        await controller.until("b2", 2)
        assert controller.clip_requests == 2


async def test_a_download_that_breaks_off_goes_on_where_it_was(controller: FakeController) -> None:
    controller.cut_after = [10_000, 20_000]
    async with running(controller) as fleet:
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 1)
        assert controller.ranges == ["bytes=10000-", "bytes=30000-"]
        assert fleet.counts.fetched_bytes == len(controller.clip)


async def test_only_the_terminals_of_a_group_hear_what_is_for_it(controller: FakeController) -> None:
    async with running(controller, 30):
        group = "w02"
        inside = {t for t, row in controller.rows.items() if row["village"].startswith(group)}
        assert 0 < len(inside) < 30
        await controller.send(
            controller.command("b1", seconds=0.1, targets=Targets(groups=(group,))), group=group
        )
        await controller.until("b1", len(inside))
        assert set(controller.facts["b1"]) == inside


async def test_a_terminal_whose_connection_is_cut_comes_back_and_says_hello_again(
    controller: FakeController,
) -> None:
    async with running(controller, 3) as fleet:
        first = len(controller.hellos)
        link = fleet._terminals[ME].link
        assert link is not None
        link.abort("cut by the test")
        await until_connected(fleet, 2)
        await until_connected(fleet, 3)
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 3)
        assert [h.terminal for h in controller.hellos[first:]] == [ME]
        assert fleet.counts.reconnects == 1


async def test_presence_is_retained_while_it_is_there_and_gone_after_a_goodbye(
    controller: FakeController, broker: EmbeddedBroker
) -> None:
    topic = controller.topics["here"].format("+")

    async def seen() -> dict[str, bytes]:
        """What is retained: all that comes before the watcher's own word."""
        found: dict[str, bytes] = {}
        async with (
            asyncio.timeout(WAIT),
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as watcher,
        ):
            await watcher.subscribe(topic, qos=1)
            await watcher.publish(controller.topics["here"].format("watcher"), b"me", qos=1)
            async for message in watcher.messages:
                assert isinstance(message.payload, bytes)
                found[message.topic.value.rpartition("/")[2]] = message.payload
                if found.pop("watcher", None):
                    break
        return found

    async with running(controller, 2) as fleet:
        assert await seen() == {"sim-00001": b"online", "sim-00002": b"online"}
        fleet.kill_power("sim-00002")
        await until_connected(fleet, 1)
        async with asyncio.timeout(WAIT):
            while await seen() != {"sim-00001": b"online", "sim-00002": b"offline"}:
                await asyncio.sleep(0.02)
    async with asyncio.timeout(WAIT):
        # What has no power cannot say goodbye.
        while await seen() != {"sim-00002": b"offline"}:
            await asyncio.sleep(0.02)


# --- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault.BAD_HASH, Fault.WRONG_KEY, Fault.DEAD_AMPLIFIER, Fault.SLOW_LINK, Fault.CLOCK_WRONG],
)
@pytest.mark.parametrize("audio", ["fetch", "shared"])
async def test_a_fault_ends_as_it_is_said_and_its_neighbour_plays(
    controller: FakeController, fault: Fault, audio: str
) -> None:
    async with running(controller, 2, faults={ME: fault}, audio=audio):
        await controller.play("b1", seconds=0.2)
        state, reason = outcome(fault)
        await controller.until_facts("b1", ME, state)
        await controller.until_facts("b1", "sim-00002", State.PLAYED)
        assert controller.ending("b1", ME) == (state, reason)
        assert controller.ending("b1", "sim-00002") == (State.PLAYED, "")


async def test_one_that_is_offline_is_enrolled_and_never_heard(controller: FakeController) -> None:
    async with running(controller, 2, faults={ME: Fault.OFFLINE}) as fleet:
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 1)
        assert ME in controller.enrolled
        assert {h.terminal for h in controller.hellos} == {"sim-00002"}
        assert controller.ending("b1", ME) == outcome(Fault.OFFLINE)
        assert fleet.counts.connected == 1


async def test_a_power_cut_in_the_middle_of_playing_is_reported_and_then_it_plays_again(
    controller: FakeController,
) -> None:
    async with running(controller, faults={ME: Fault.POWER_CUT}) as fleet:
        await controller.play("b1", seconds=0.6)
        await controller.until("b1", 1)
        order = controller.order[ME]
        assert order == ["accepted", "ready", "playing", "interrupted", "playing", "played"]
        assert len({h.boot for h in controller.hellos}) == 2
        assert (fleet.counts.power_cuts, fleet.counts.started, fleet.counts.finished) == (1, 2, 1)


async def test_power_that_a_test_takes_and_gives_back_does_not_repeat_what_was_played(
    controller: FakeController,
) -> None:
    async with running(controller) as fleet:
        play = await controller.play("b1", seconds=0.1)
        await controller.until("b1", 1)
        fleet.kill_power(ME)
        await until_connected(fleet, 0)
        fleet.restore_power(ME)
        await until_connected(fleet, 1)
        await controller.send(play, to=[ME])
        await controller.play("b2", seconds=0.1)
        await controller.until("b2", 1)
        assert fleet.counts.started == 2
        assert controller.ending("b1", ME) == (State.PLAYED, "")


async def test_a_mute_one_plays_and_is_heard_once_it_was_asked_often_enough(
    controller: FakeController,
) -> None:
    async with running(controller, faults={ME: Fault.MUTE}) as fleet:
        await controller.play("b1", seconds=0.1)
        async with asyncio.timeout(WAIT):
            while not fleet.counts.finished:
                await asyncio.sleep(0.01)
        assert controller.states("b1", ME) == set()
        for _ in range(QUICK.lost_reports):
            await controller.ask("b1", ME)
        await controller.until("b1", 1)
        assert fleet.counts.reports_lost == QUICK.lost_reports


async def test_a_deaf_one_plays_when_the_command_has_been_repeated(controller: FakeController) -> None:
    async with running(controller, faults={ME: Fault.DEAF}) as fleet:
        play = await controller.play("b1", seconds=0.1)
        for _ in range(QUICK.lost_commands):
            await controller.send(play, to=[ME])
        await controller.until("b1", 1)
        assert fleet.counts.started == 1


async def test_a_late_one_is_not_waited_for(controller: FakeController) -> None:
    settings = FaultSettings(late_s=3_600)
    async with running(controller, 2, faults={ME: Fault.LATE}, fault_settings=settings) as fleet:
        assert fleet.counts.with_time == 1


async def test_a_late_one_comes_and_plays(controller: FakeController) -> None:
    async with running(controller, 2, faults={ME: Fault.LATE}) as fleet:
        async with asyncio.timeout(WAIT):
            while fleet.counts.with_time != 2:
                await asyncio.sleep(0.01)
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 2)


async def test_a_wrong_wall_clock_shows_in_the_boot_id_and_nowhere_else(controller: FakeController) -> None:
    async with running(controller, 2, faults={ME: Fault.CLOCK_WRONG}):
        wall = {h.terminal: int(h.boot.partition(".")[0], 16) for h in controller.hellos}
        assert wall[ME] - wall["sim-00002"] > 86_000_000
        await controller.play("b1", seconds=0.1)
        await controller.until("b1", 2)
        times = {t: min(at for at, _ in facts.values()) for t, facts in controller.facts["b1"].items()}
        assert abs(times[ME] - times["sim-00002"]) < 60_000


async def test_the_demo_scenario_ends_exactly_as_it_says(controller: FakeController) -> None:
    scenario = load("demo")
    async with running(controller, 212, faults=scenario.faults, audio="shared"):
        townships = ("w01", "w02", "w03", "w04", "w06")
        play = controller.command("b1", seconds=0.4, targets=Targets(groups=townships))
        for group in townships:
            await controller.send(play, group=group)
        mute = next(t for t, f in scenario.faults.items() if f is Fault.MUTE)
        silent = sum(scenario.expected(t)[0] is not State.PLAYED for t in scenario.targeted)
        await controller.until("b1", len(scenario.targeted) - silent - 1)
        for _ in range(QUICK.lost_reports + 4):
            await controller.ask("b1", mute)
        await controller.until("b1", len(scenario.targeted) - silent)
        for terminal in scenario.targeted:
            state, _ = scenario.expected(terminal)
            if state is not State.SENT:
                await controller.until_facts("b1", terminal, state)
        assert set(controller.facts["b1"]) <= scenario.targeted
        assert check(controller.summary("b1", scenario.targeted), scenario) == []


# --- beginning and end -------------------------------------------------------------------------------


async def in_a_loop_of_its_own(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Its result, once it was seen that nothing else is left in its loop."""

    async def alone() -> T:
        async with asyncio.timeout(WAIT):
            result = await main()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return await asyncio.to_thread(asyncio.run, alone())


async def test_a_graceful_stop_reports_and_leaves_nothing_in_the_loop(controller: FakeController) -> None:
    ready: list[int] = []

    async def fleet() -> FleetReport:
        stop = asyncio.Event()

        def said(count: int) -> None:
            ready.append(count)
            stop.set()

        return await run_fleet(options(controller, 5, speed=2), ready=said, stop=stop)

    report = await in_a_loop_of_its_own(fleet)
    assert ready == [5]
    assert (report.enrolled, report.connected, report.with_time) == (5, 5, 5)
    assert report.speed == 2


async def test_a_fleet_that_is_stopped_in_the_middle_of_everything_leaves_nothing_in_the_loop(
    controller: FakeController,
) -> None:
    async def fleet() -> None:
        task = asyncio.create_task(run_fleet(options(controller, 30, connect_at_once=3)))
        while not controller.hellos:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    await in_a_loop_of_its_own(fleet)


async def test_as_a_process_it_says_when_it_is_ready_and_reports_when_it_is_ended(
    controller: FakeController, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n", encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators.fleet", "--controller", controller.url),
        *("--token-file", str(token), "--terminals", "30", "--scenario", "demo", "--audio", "shared"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT):
            # Of these thirty one is off-line (sim-00004); sim-00023 has the time all the same.
            assert json.loads(await process.stdout.readline()) == {"ready": 29}
            await controller.play("b1", seconds=0.1)
            await controller.until("b1", 28)
            process.terminate()
            report = json.loads(await process.stdout.readline())
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert report["faults"] == {"sim-00004": "offline", "sim-00023": "bad_hash"}
    assert (report["connected"], report["finished"], report["speed"]) == (29, 28, 1.0)


@pytest.mark.parametrize(
    ("sandbox", "token", "address", "code"),
    [(False, TOKEN, None, 6), (True, "wrong", None, 1), (True, TOKEN, "unix:/nowhere/api.sock", 4)],
)
async def test_the_exit_code_says_what_went_wrong(
    broker: EmbeddedBroker,
    tmp_path: Path,
    sandbox: bool,
    token: str,
    address: str | None,
    code: int,
) -> None:
    (tmp_path / "token").write_text(token, encoding="utf-8")
    async with FakeController(broker.port, sandbox=sandbox) as controller:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "simulators.fleet", "--controller", address or controller.url),
            *("--token-file", str(tmp_path / "token")),
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        async with asyncio.timeout(WAIT):
            _, said = await process.communicate()
    assert (process.returncode, said.decode().startswith("fleet: ")) == (code, True)


async def test_a_controller_that_is_no_sandbox_gets_no_simulated_terminal(broker: EmbeddedBroker) -> None:
    async with FakeController(broker.port, sandbox=False) as controller:
        with pytest.raises(FleetRefused, match="not a sandbox"):
            await run_fleet(options(controller))


async def test_a_wrong_token_and_a_silent_status_are_said(controller: FakeController) -> None:
    with pytest.raises(FleetError, match="token"):
        await run_fleet(FleetOptions(controller=controller.url, token="other", terminals=1))
    controller.says_url = False
    with pytest.raises(FleetError, match="--terminals-url"):
        await run_fleet(options(controller))
    async with running(controller, terminals_url=controller.url + "/") as fleet:
        assert fleet.counts.connected == 1


async def test_a_bug_in_a_callback_ends_the_fleet_instead_of_hiding(
    controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(controller) as fleet:

        def broken(payload: bytes) -> bool:
            raise ZeroDivisionError

        monkeypatch.setattr(type(fleet._terminals[ME].seam), "hears", lambda self, payload: broken(payload))
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await controller.play("b1")
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(WAIT):
                await fleet.wait(asyncio.Event())
