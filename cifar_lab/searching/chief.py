"""The chief's service: KerasTuner's, answered by one thread, ended when all workers know.

What a worker sends is checked at the door: nothing that it says can be anything but a score, or a
failure, of a trial that the chief handed out.
"""

import contextlib
import math
import time

from .. import backend
from ..terminal import printable
from . import signing
from .request import OBJECTIVES
from .signing import Refused

#: {what a worker may tell of a trial: (least, most)}
METRICS = {
    **{name: (0.0, 1.0) if "accuracy" in name else (-1e30, 1e30) for name in OBJECTIVES},
    **{"epochs": (0.0, 1e6), "seconds": (0.0, 1e9), "memory_mb": (0.0, 1e9)},
}
MOST_NAME = 100  # characters
ENDS = ("COMPLETED", "INVALID", "FAILED")


class Door:
    """Answers what comes through it. oracle: surviving.Surviving."""

    def __init__(self, oracle):
        from keras_tuner.src import protos
        from keras_tuner.src.distribute.oracle_chief import OracleServicer

        self.oracle, self.service = oracle, protos.get_service()
        self.servicer = OracleServicer(oracle)

    def answer(self, method, body, client):
        """The reply's bytes. Raises Refused."""
        try:
            request = getattr(self.service, f"{method}Request").FromString(body)
        except Exception:  # protobuf's, of two implementations
            raise Refused("is damaged") from None
        try:
            check = getattr(self, f"_{method}", None)
            reply = check(request, client) if check else None
            if reply is None:
                reply = getattr(self.servicer, method)(request, None)
        except Refused:
            raise
        except Exception as error:
            raise Refused(f"cannot be answered ({type(error).__name__})", "INTERNAL") from None
        return reply.SerializeToString()

    # --- what a message may say ---

    def _UpdateSpace(self, request, client):
        """The space is that of the request, which both sides know."""
        return self.service.UpdateSpaceResponse()

    def _GetBestTrials(self, request, client):
        if not 0 <= request.num_trials <= 1000:
            raise Refused(f"asks for {request.num_trials} trials, not 0 to 1000")

    def _CreateTrial(self, request, client):
        name = request.tuner_id
        if not name.strip() or len(name) > MOST_NAME or name != printable(name) or "chief" in name:
            raise Refused(f"comes from no worker's name ({printable(name)[:MOST_NAME]!r})")
        if not self.oracle.hold(name, client):
            raise Refused(f"comes from a second worker called {name}", "ALREADY_EXISTS")

    def _GetTrial(self, request, client):
        self._known(request.trial_id)

    def _UpdateTrial(self, request, client):
        trial = self._known(request.trial_id)
        if not 0 <= request.step <= 1_000_000:
            raise Refused(f"has a step of {request.step}, not 0 to 1,000,000")
        for name, value in request.metrics.items():
            if name not in METRICS:
                raise Refused(f"tells {printable(name)[:MOST_NAME]!r} of a trial")
            low, high = METRICS[name]
            if not (math.isfinite(value) and low <= value <= high):
                raise Refused(f"tells {name} of {value:g}, not {low:g} to {high:g}")
        if trial.trial_id in self.oracle.end_order:  # of a worker that was thought dead
            return self.service.UpdateTrialResponse(trial=trial.to_proto())
        return None

    def _EndTrial(self, request, client):
        from keras_tuner.src.engine.trial import Trial

        told = Trial.from_proto(request.trial)
        trial = self._known(told.trial_id)
        if told.status not in ENDS:
            raise Refused(f"ends a trial as {printable(str(told.status))[:MOST_NAME]!r}")
        scored = trial.metrics.exists(self.oracle.objective.name)
        if told.status == "COMPLETED" and not scored:
            raise Refused(f"ends a trial without its {self.oracle.objective.name}")
        # its values are those that the chief chose, whatever the worker says
        ended = Trial(trial.hyperparameters, trial.trial_id, told.status)
        self.oracle.end_trial(ended)
        return self.service.EndTrialResponse()

    def _known(self, trial_id):
        trial = self.oracle.trials.get(trial_id)
        if trial is None:
            raise Refused(f"names a trial {printable(trial_id)[:MOST_NAME]!r}, which is none")
        return trial


def serve(
    oracle,
    host,
    port,
    started=lambda port: None,
    watch=lambda: None,
    secret=b"",
    refused=lambda line: None,
):
    """Answer workers until the search is over and they know it.

    host: address to listen on.
    port: 0 for any that is free.
    started: called with the port once it listens.
    watch: called about twice a second.
    secret: that workers must know; b"": whoever reaches the address is one.
    refused: called with a line about each message that was not obeyed.

    Raises:
        OSError: the address cannot be listened on.
    """
    from concurrent import futures

    import grpc

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)]
    )
    inspector = signing.Inspector(secret)
    server.add_generic_rpc_handlers([signing.handler(Door(oracle).answer, inspector, refused)])
    bound = 0
    with backend.quiet_stderr(), contextlib.suppress(RuntimeError):  # gRPC has lines of its own
        bound = server.add_insecure_port(f"{host}:{port}")
    if not bound:
        raise OSError(98, "address cannot be listened on", f"{host}:{port}")
    server.start()
    try:
        started(bound)
        while not (oracle.finished() and oracle.nobody_waits()):
            watch()
            time.sleep(0.5)
    finally:
        server.stop(grace=2).wait()
