"""The images as overlays/podman runs them: two encoders and one search service, under load too."""

from __future__ import annotations

import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from validate_deploy import TOOLS, build, find_kustomize

from searchmesh import Client, Connection, Document, RetryPolicy, Service
from searchmesh.errors import ServiceError
from searchmesh.results import Health
from tests.images import podman
from tests.images.podman import Plays, Pod
from tests.mesh import HEALTH_NAMES, MODEL, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# the first test waits for the images to be built
pytestmark = [pytest.mark.images, pytest.mark.timeout(1200)]

VERSION = "0.1.0"

TEXTS = {
    "tides": "The moon pulls the sea twice a day.",
    "bread": "Flour, water and salt make a dough.",
    "chess": "A knight jumps over other pieces.",
}


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    """Both images, built."""
    try:
        base = podman.base_image()
    except podman.NoRuntimeError as error:
        pytest.skip(str(error))
    return {service: podman.build(service, base, VERSION) for service in ("encoder", "search")}


@pytest.fixture(scope="module")
def plays(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    kustomize = find_kustomize(TOOLS)
    if kustomize is None:
        pytest.skip("no kustomize here that is new enough; see `make deploy-tools`")
    overlay = podman.ROOT / "deploy" / "k8s" / "overlays" / "podman"
    plays = Plays(build(kustomize, overlay), tmp_path_factory.mktemp("plays"))
    try:
        yield plays
    finally:
        plays.close()


@pytest.fixture(scope="module")
def encoders(plays: Plays) -> list[Pod]:
    """Two of them, on one CPU each."""
    return [plays.play("encoder", f"encoder-{number}", cpus=1) for number in (1, 2)]


@pytest.fixture(scope="module")
def search(plays: Plays, encoders: list[Pod]) -> Pod:
    return plays.play("search", "search", cpus=2)


@pytest.fixture(scope="module")
def client(encoders: list[Pod], search: Pod) -> Iterator[Client]:
    """A caller on the machine, of a mesh that serves and has documents; it never repeats a call."""
    for one in encoders:
        wait_until_serving(one)
    connection = Connection(
        encoder=f"{encoders[0].address}:50051",
        search=f"{search.address}:50052",
        timeout=20,
        retries=RetryPolicy(most_attempts=1),
    )
    with Client(connection) as client:
        wait_for(lambda: serves(client, Service.SEARCH), "search to serve", 60)
        client.create_collection("notes", model=MODEL)
        done = client.import_documents(
            "notes", [Document(name, text) for name, text in TEXTS.items()]
        )
        done.wait()
        yield client


def wait_until_serving(encoder: Pod) -> None:
    with Client(Connection(encoder=f"{encoder.address}:50051", timeout=5)) as client:
        wait_for(lambda: serves(client, Service.ENCODER), f"{encoder.name} to serve", 60)


def serves(client: Client, service: Service) -> bool:
    try:
        return client.health(service, HEALTH_NAMES[service]) is Health.SERVING
    except ServiceError:
        return False


def calls(encoder: Pod) -> float:
    """How many calls of Encode an encoder has answered."""
    with urllib.request.urlopen(f"http://{encoder.address}:9101/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("grpc_server_handled_total") and 'grpc_method="Encode"' in line
    )


def nearest(client: Client, text: str) -> str:
    return client.search("notes", text, limit=1).hits[0].id


class Load:
    """Searches without a pause, by a few callers; counts those that failed."""

    def __init__(self, client: Client, callers: int = 4) -> None:
        self.answered = 0
        self.failures: list[ServiceError] = []
        self._client = client
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for one in self._threads:
            one.join(60)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                # no two alike: an encoder's cache would answer
                nearest(self._client, f"who jumps over whom at {time.monotonic_ns()}?")
                self.answered += 1
            except ServiceError as error:
                self.failures.append(error)


@pytest.mark.parametrize(
    ("service", "absent"), [("encoder", "pymilvus"), ("search", "onnxruntime")]
)
def test_an_image_holds_nothing_of_the_other_service(
    images: dict[str, str], service: str, absent: str
) -> None:
    program = (
        "import importlib.util, os, shutil;"
        f"print([one for one in ('{absent}', 'pip') if importlib.util.find_spec(one)],"
        "[one for one in ('cc', 'gcc', 'make') if shutil.which(one)], os.getuid())"
    )
    told = podman.podman("run", "--rm", "--entrypoint", "python", images[service], "-c", program)
    assert told.strip() == "[] [] 10001"


def test_documents_that_were_imported_are_found(client: Client) -> None:
    assert nearest(client, "a game on a board") == "chess"
    assert nearest(client, "baking") == "bread"


def test_calls_go_to_both_encoders(client: Client, encoders: list[Pod]) -> None:
    before = [calls(one) for one in encoders]
    for number in range(40):
        nearest(client, f"how high is tide number {number}?")
    taken = [calls(one) - earlier for one, earlier in zip(encoders, before, strict=True)]
    assert sum(taken) >= 40
    assert max(taken) <= 1.1 * sum(taken) / len(taken)


def test_limits_are_honoured(client: Client, encoders: list[Pod]) -> None:
    host = encoders[0].inspect()["HostConfig"]
    assert host["Memory"] == 2**30
    assert host["CpuQuota"] == host["CpuPeriod"]
    with urllib.request.urlopen(f"http://{encoders[0].address}:9101/metrics") as answer:
        lines = answer.read().decode().splitlines()
    (workers,) = (
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("encoder_workers{") and "compute" in line and "query" in line
    )
    assert workers == 1


def test_the_root_is_read_only(client: Client, encoders: list[Pod], search: Pod) -> None:
    program = (
        "import errno\n"
        "for path in ('/x', '/opt/searchmesh/x', '/tmp/x'):\n"
        "  try: open(path, 'w').close(); print(path, 'written')\n"
        "  except OSError as error: print(path, errno.errorcode[error.errno])\n"
    )
    for pod in (encoders[0], search):
        told = pod.python(program).splitlines()
        assert told == ["/x EROFS", "/opt/searchmesh/x EROFS", "/tmp/x written"]


def test_an_encoder_makes_way_for_a_new_one_without_a_failed_call(
    client: Client, plays: Plays, encoders: list[Pod]
) -> None:
    with Load(client) as load:
        wait_for(lambda: load.answered > 20, "a steady load")
        new = plays.play("encoder", "encoder-3", cpus=1)
        wait_until_serving(new)
        wait_for(lambda: calls(new) > 0, "the new encoder to be called", 20)
        assert encoders[0].stop() == 0
        answered = load.answered
        wait_for(lambda: load.answered > answered + 20, "the load to go on")
    assert load.failures == []
    assert "stopping" in [line["message"] for line in encoders[0].logs()]


def test_search_drains(client: Client, search: Pod) -> None:
    begun = threading.Event()
    found: list[str] = []

    def call() -> None:
        begun.set()
        found.append(nearest(client, "a game on a board"))

    caller = threading.Thread(target=call)
    caller.start()
    begun.wait(10)
    assert search.stop() == 0
    caller.join(30)
    assert found == ["chess"]
