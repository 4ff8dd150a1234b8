"""The chief's service: KerasTuner's, answered by one thread, ended when all workers know."""

import time


def serve(oracle, host, port, started=lambda port: None, watch=lambda: None):
    """Answer workers until the search is over and they know it.

    host: address to listen on; the service has no authentication.
    port: 0 for any that is free.
    started: called with the port once it listens.
    watch: called about twice a second.

    Raises:
        OSError: the address could not be loaded.
    """
    from concurrent import futures

    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute.oracle_chief import OracleServicer

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)]
    )
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        port = 0
    if not port:
        raise OSError(98, "address cannot be listened on", f"{host}:{port}")
    server.start()
    try:
        started(port)
        while not (oracle.finished() and oracle.nobody_waits()):
            watch()
            time.sleep(0.5)
    finally:
        server.stop(grace=2).wait()
