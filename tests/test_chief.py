"""A chief and its workers: who may take part, and what may be said."""

import hashlib
import os
import threading

import pytest

from support import assert_refused, run_here

keras_tuner = pytest.importorskip("keras_tuner")
grpc = pytest.importorskip("grpc")

from keras_tuner.src import protos  # noqa: E402
from keras_tuner.src.distribute import oracle_client  # noqa: E402
from keras_tuner.src.engine.trial import Trial  # noqa: E402

from cifar_lab import bundles, files  # noqa: E402
from cifar_lab.searching import chief, oracles, ranges, signing, tuner  # noqa: E402
from cifar_lab.searching.search import Search  # noqa: E402

SECRET = b"sixteen or more characters"
SPACE = {
    "learning_rate": ranges.Range(1e-4, 1e-1, log=True),
    "batch_size": ranges.Range(options=(16, 32)),
}


def oracle_in(folder, **limits):
    made = oracles.build(
        "random", SPACE, "val_accuracy", "max", 0, limit=limits.get("limit", 5), digest="d"
    )
    made._set_project_dir(str(folder), "trials")
    (folder / "trials").mkdir(parents=True, exist_ok=True)
    return made


class Chief:
    """A served oracle, stopped at the end of the block."""

    def __init__(self, folder, secret=SECRET):
        self.oracle, self.secret, self.lines = oracle_in(folder), secret, []
        self.ready, self.over = threading.Event(), False

    def __enter__(self):
        def started(port):
            self.port = port
            self.ready.set()

        def watch():
            if self.over:
                raise KeyboardInterrupt

        def serve():
            try:
                chief.serve(
                    self.oracle, "127.0.0.1", 0, started, watch, self.secret, self.lines.append
                )
            except KeyboardInterrupt:
                pass

        self.thread = threading.Thread(target=serve)
        self.thread.start()
        assert self.ready.wait(20)
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(20)

    def worker(self, name="a", secret=None, monkeypatch=None):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(self.port))
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        monkeypatch.setattr(oracle_client, "TIMEOUT", 20)
        client = oracle_client.OracleClient(self.oracle)
        client.stub = signing.Stub(
            "127.0.0.1", self.port, self.secret if secret is None else secret
        )
        return client


@pytest.fixture
def served(tmp_path):
    with Chief(tmp_path) as made:
        yield made


@pytest.fixture
def worker(served, monkeypatch):
    return served.worker(monkeypatch=monkeypatch)


def refusal(call, *args, **options):
    """(code, words) of what a chief refuses."""
    with pytest.raises(grpc.RpcError) as refused:
        call(*args, **options)
    return refused.value.code().name, refused.value.details()


def files_of(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


# --- who may take part ---------------------------------------------------------------------------


def test_a_trial_through_signed_messages(served, worker, tmp_path):
    assert [hp.name for hp in worker.get_space().space] == ["search", "learning_rate", "batch_size"]
    trial = worker.create_trial("a")
    assert 1e-4 <= trial.hyperparameters.values["learning_rate"] <= 1e-1
    worker.update_trial(trial.trial_id, {"val_accuracy": 0.625, "seconds": 3.0})
    trial.status = "COMPLETED"
    worker.end_trial(trial)
    assert served.oracle.trials[trial.trial_id].score == 0.625
    again = oracle_in(tmp_path)
    again.reload()
    assert again.trials[trial.trial_id].score == 0.625 and served.lines == []
    assert [t.trial_id for t in worker.get_best_trials()] == [trial.trial_id]


@pytest.mark.parametrize("secret", [b"", b"another secret of that length"])
def test_another_secret(served, monkeypatch, secret):
    stranger = served.worker(secret=secret, monkeypatch=monkeypatch)
    assert refusal(stranger.create_trial, "b") == (
        "UNAUTHENTICATED",
        "CreateTrial is signed with another secret",
    )
    assert served.oracle.trials == {}
    assert served.lines == ["a worker's CreateTrial is signed with another secret"]


def test_messages_that_are_not_signed(served):
    """As KerasTuner's own workers send them."""
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        stub = protos.get_service_grpc().OracleStub(channel)
        request = protos.get_service().CreateTrialRequest(tuner_id="b")
        code, words = refusal(stub.CreateTrial, request, timeout=20, wait_for_ready=True)
    assert (code, words) == ("UNAUTHENTICATED", "CreateTrial is not signed")
    assert served.oracle.trials == {}


def test_a_message_that_came_before_or_was_changed(served, worker):
    """What a listener can send: the same again, other bytes, another call, a later number."""
    inspector = signing.Inspector(SECRET)

    def signed(number, body, method="CreateTrial", session=inspector.session):
        mac = signing._request_mac(SECRET, session, "c", number, method, body)
        return {"session": session, "client": "c", "number": number, "mac": mac}

    told = signed("3", b"body")
    assert inspector.check("CreateTrial", told, b"body") == "c"
    for method, metadata, body, words in (
        ("CreateTrial", told, b"body", "came before"),
        ("CreateTrial", signed("2", b"body"), b"body", "came before"),
        ("CreateTrial", signed("4", b"body"), b"bodies", "another secret"),
        ("EndTrial", signed("4", b"body"), b"body", "another secret"),
        ("CreateTrial", {**signed("4", b"body"), "number": "5"}, b"body", "another secret"),
        ("CreateTrial", {**signed("4", b"body"), "client": "d"}, b"body", "another secret"),
        ("CreateTrial", signed("4", b"body", session="earlier"), b"body", "session"),
        ("CreateTrial", signed("-4", b"body"), b"body", "came before"),
        ("CreateTrial", signed("x" * 101, b"body"), b"body", "not signed"),
    ):
        with pytest.raises(signing.Refused, match=words):
            inspector.check(method, metadata, body)
    assert inspector.check("CreateTrial", signed("4", b"body"), b"body") == "c"


def test_a_chief_that_does_not_know_the_secret(monkeypatch):
    """Its replies are not obeyed, whatever they say."""
    from concurrent import futures

    def lie(body, context):
        context.set_trailing_metadata([("mac", "0" * 64)])
        trial = Trial(keras_tuner.HyperParameters(), trial_id="0/../../x", status="RUNNING")
        return protos.get_service().CreateTrialResponse(trial=trial.to_proto()).SerializeToString()

    class Liar(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lie)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([Liar()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        stub = signing.Stub("127.0.0.1", port, SECRET)
        with pytest.raises(ConnectionError, match="not signed with this secret"):
            stub.CreateTrial(protos.get_service().CreateTrialRequest(tuner_id="a"), timeout=20)
    finally:
        server.stop(None).wait()


def test_a_worker_outlives_its_chief(tmp_path, monkeypatch):
    """The next chief has another session, and no message to the one before is worth anything."""
    with Chief(tmp_path) as first:
        worker = first.worker(monkeypatch=monkeypatch)
        worker.create_trial("a")
        before = worker.stub._session
    with Chief(tmp_path) as second:
        worker.stub = signing.Stub("127.0.0.1", second.port, SECRET)
        worker.stub._session = before
        assert worker.create_trial("a").trial_id
        assert worker.stub._session not in ("", before) and second.lines == []


# --- what may be said ----------------------------------------------------------------------------


def trial_told(trial_id, status="COMPLETED", message=None, values=None):
    hp = keras_tuner.HyperParameters()
    hp.values.update(values or {})
    told = Trial(hp, trial_id=trial_id, status=status)
    told.message = message
    return told


POISON = {
    "an id that climbs": (
        lambda w: w.end_trial(trial_told("0/../../x")),
        "'0/../../x', which is none",
    ),
    "an unknown id": (lambda w: w.get_trial("7"), "'7', which is none"),
    "a control character": (lambda w: w.get_trial("\x1b[2J"), "'?[2J', which is none"),
    "NaN": (
        lambda w: w.update_trial("000000", {"val_accuracy": float("nan")}),
        "val_accuracy of nan",
    ),
    "infinity": (lambda w: w.update_trial("000000", {"val_loss": float("inf")}), "val_loss of inf"),
    "no share": (lambda w: w.update_trial("000000", {"val_accuracy": 1.5}), "of 1.5, not 0 to 1"),
    "no metric": (lambda w: w.update_trial("000000", {"../x": 0.5}), "tells '../x'"),
    "a step": (lambda w: w.update_trial("000000", {"val_accuracy": 0.5}, -1), "has a step of -1"),
    "no score": (lambda w: w.end_trial(trial_told("000000")), "without its val_accuracy"),
    "no end": (lambda w: w.end_trial(trial_told("000000", "RUNNING")), "as 'RUNNING'"),
    "no name": (lambda w: w.create_trial("  "), "no worker's name"),
    "a name of the chief's": (lambda w: w.create_trial("chief"), "no worker's name"),
    "a long name": (lambda w: w.create_trial("n" * 101), "no worker's name"),
    "many trials": (lambda w: w.get_best_trials(1001), "1001 trials"),
}


@pytest.mark.parametrize("kind", POISON)
def test_what_is_refused_at_the_door(served, worker, tmp_path, kind):
    """In one line, and the search is what it was: it goes on, also alone."""
    said, words = POISON[kind]
    assert worker.create_trial("a").trial_id == "000000"
    before = files_of(tmp_path)
    code, told = refusal(said, worker)
    assert code == "INVALID_ARGUMENT" and words in told and "\n" not in told and "\x1b" not in told
    assert files_of(tmp_path) == before and len(served.lines) == 1
    worker.update_trial("000000", {"val_accuracy": 0.5})
    worker.end_trial(trial_told("000000"))
    alone = oracle_in(tmp_path)
    alone.reload()
    assert alone.trials["000000"].score == 0.5 and alone.create_trial("tuner0").trial_id == "000001"


def test_bytes_that_are_no_message(served, worker):
    stub = worker.stub
    broken = type("Broken", (), {"SerializeToString": lambda self: b"\xff\xff\xff"})()
    assert refusal(stub.EndTrial, broken, timeout=20) == ("INVALID_ARGUMENT", "EndTrial is damaged")


def test_a_trial_ends_with_the_values_that_the_chief_chose(served, worker):
    worker.create_trial("a")
    chosen = dict(served.oracle.trials["000000"].hyperparameters.values)
    worker.update_trial("000000", {"val_accuracy": 0.5})
    worker.end_trial(trial_told("000000", values={"learning_rate": 99.0, "builder": "evil.py:f"}))
    assert served.oracle.trials["000000"].hyperparameters.values == chosen
    assert served.oracle.trials["000000"].score == 0.5


def test_a_second_worker_of_one_name(served, worker, monkeypatch):
    first = worker.create_trial("a")
    second = served.worker(monkeypatch=monkeypatch)
    assert refusal(second.create_trial, "a") == (
        "ALREADY_EXISTS",
        "CreateTrial comes from a second worker called a",
    )
    assert second.create_trial("b").trial_id != first.trial_id
    served.oracle.allow("a")  # the chief started it again itself
    assert second.create_trial("a").trial_id == first.trial_id


def test_a_name_is_free_when_its_worker_is_gone(served, worker, monkeypatch):
    trial = worker.create_trial("a")
    monkeypatch.setattr("cifar_lab.searching.surviving.NAME_SECONDS", -1.0)
    assert served.worker(monkeypatch=monkeypatch).create_trial("a").trial_id == trial.trial_id


# --- what a worker obeys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trial_id, values, words",
    [
        ("3", {"learning_rate": 0.01, "batch_size": 16}, ""),
        ("3", {"learning_rate": 0.1 * (1 + 1e-7), "batch_size": 32}, ""),  # a float32's rounding
        ("3", {"learning_rate": 0.01, "search": "d", "tuner/epochs": 3}, ""),
        ("0/../../x", {}, "must be a number"),
        ("", {}, "must be a number"),
        ("3", {"builder": "evil.py:f"}, "trial 3: sets 'builder', which is not searched"),
        ("3", {"learning_rate": 0.2}, "trial 3: learning_rate must be in 0.0001:0.1:log"),
        ("3", {"learning_rate": float("nan")}, "received nan"),
        ("3", {"learning_rate": "0.01"}, "received 0.01"),
        ("3", {"batch_size": 24}, "must be in 16,32, received 24"),
    ],
)
def test_a_trial_that_is_none_of_this_search(trial_id, values, words):
    search = object.__new__(Search)
    search.request = type("Request", (), {"ranges": SPACE})()
    told = search.strange(trial_told(trial_id, values=values))
    assert words in told and bool(words) == bool(told)


@pytest.mark.parametrize(
    "value, inside",
    [(True, True), (1, False), ("true", False), (False, True)],
)
def test_options_are_of_their_type(value, inside):
    assert ranges.Range(options=(True, False)).holds(value) is inside


def test_whole_numbers():
    whole = ranges.Range(1, 5, whole_numbers=True)
    assert [v for v in (0, 1, 2.0, 2.5, 5, 6, True) if whole.holds(v)] == [1, 2.0, 5]


def test_a_strange_trial_ends_a_search_in_a_line(monkeypatch):
    from cifar_lab.errors import InputError

    made = object.__new__(tuner.Tuner)
    monkeypatch.setattr(
        tuner.BaseTuner, "search", lambda self: self.run_trial(trial_told("0/../../x"))
    )
    made.owner = type("Owner", (), {"strange": lambda self, trial: "trial 3: is strange"})()
    with pytest.raises(InputError, match="trial 3: is strange"):
        made.search()


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args, words",
    [
        (["--chief", "0.0.0.0:9"], "0.0.0.0 is not this machine's own address"),
        (["--chief", "example.org:9", "--worker-id", "a"], "--secret FILE or CIFAR_LAB_SECRET"),
        (["--secret", "s"], "--secret: only with --chief"),
        (["--chief", "127.0.0.1:9", "--secret", "nowhere"], "--secret nowhere: cannot be read"),
        (["--chief", "127.0.0.1:9", "--secret", "short"], "16 characters or more, received 5"),
        (["--chief", "127.0.0.1:9", "--secret", "long"], "at most 4,096 bytes"),
        (["--chief", "127.0.0.1:9", "--secret", "."], "--secret .: cannot be read"),
        (["--chief", "127.0.0.1:0", "--worker-id", "a"], "needs the port"),
        (["--chief", "\udcff:9"], "--chief: must be HOST:PORT"),
        (["--chief", "a\nb:9"], "--chief: must be HOST:PORT"),
        (["--chief", "a:" + 5000 * "1"], "--chief: must be HOST:PORT"),
    ],
)
def test_wrong_requests(tmp_path, monkeypatch, args, words):
    monkeypatch.delenv("CIFAR_LAB_SECRET", raising=False)
    (tmp_path / "short").write_text(" five5\n")
    (tmp_path / "long").write_text("x" * 4097)
    done = run_here("tune.py", "cifar10-74", "--data", "synthetic", *args, cwd=tmp_path)
    assert_refused(done, words)


def test_a_secret_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_LAB_SECRET", "too short")
    args = ("tune.py", "cifar10-74", "--data", "synthetic", "--chief", "0.0.0.0:9")
    assert_refused(run_here(*args, cwd=tmp_path), "CIFAR_LAB_SECRET: must have 16 characters")
    monkeypatch.setenv("CIFAR_LAB_SECRET", "\udcff bytes")  # that are no UTF-8
    assert_refused(run_here(*args, cwd=tmp_path), "CIFAR_LAB_SECRET: must have 16 characters")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of POSIX")
def test_a_secret_out_of_a_pipe_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    args = ("tune.py", "cifar10-74", "--chief", "127.0.0.1:9", "--secret", "pipe")
    assert_refused(run_here(*args, cwd=tmp_path), "--secret pipe: cannot be read (is a pipe that")


def test_an_address_that_cannot_be_listened_on(tmp_path, capfd):
    """The line names it, and gRPC has none of its own beside it."""
    with pytest.raises(OSError, match="cannot be listened on") as raised:
        chief.serve(oracle_in(tmp_path), "nowhere.invalid", 9)
    assert raised.value.filename == "nowhere.invalid:9"
    assert capfd.readouterr().err == ""


def test_a_second_chief_of_one_folder(tmp_path, fashion):
    """Whatever port it names."""
    out = tmp_path / "search"
    out.mkdir()
    args = ("fashion-mnist-mlp", "--data-dir", fashion, "--output", out, "--max-trials", 1)
    with bundles.locked(out):
        done = run_here("tune.py", *args, "--chief", "127.0.0.1:0")
    assert_refused(done, "another process is writing there")
    assert [p.name for p in out.iterdir()] == []
