"""Processes of ``python -m module`` that begin with the libraries loaded: forked from one that imports them once.

Such a process has the arguments, working directory, environment, standard streams, ignored signals and exit code of the
one that a test starts, which is a stand-in (:func:`stand_in`) that passes them on and ends as it does. What differs:
libraries were imported before, in another environment. For what is about starting, importing or installing, start a new
interpreter.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

LIBRARIES = ("mlflow", "lightning.pytorch.cli", "lightning.pytorch.loggers", "sklearn.metrics", "matplotlib.figure")
INTERRUPTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


def load() -> None:
    """Imports the libraries but ONNX Runtime, whose threads a fork leaves behind: torchmetrics, too, imports it."""
    stub = ModuleType("onnxruntime")
    stub.__spec__, stub.InferenceSession = ModuleSpec(stub.__name__, None), None
    sys.modules[stub.__name__] = stub
    for name in LIBRARIES:
        importlib.import_module(name)
    del sys.modules[stub.__name__]


@contextmanager
def server() -> Iterator[list[str]]:
    """A process to fork from; yields the command to which the module and its arguments are added."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as listener:
        address = f"{place}/socket"  # has to be short
        listener.bind(address)
        listener.listen()
        command = [sys.executable, __file__, "serve", str(listener.fileno())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]):
            listener.close()
            yield [sys.executable, "-IS", __file__, "start", address]


def stand_in(address: str, arguments: list[str]) -> None:
    """Passes arguments, environment and standard streams to the server, and ends as the forked process does."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(address)
    ignored = [number for number in INTERRUPTS if signal.getsignal(number) is signal.SIG_IGN]
    request = json.dumps([arguments, str(Path.cwd()), dict(os.environ), ignored]).encode()
    socket.send_fds(link, [len(request).to_bytes(4, "big")], [0, 1, 2])
    link.sendall(request)
    answers = link.makefile("r")
    own = int(answers.readline())
    for number in INTERRUPTS:
        signal.signal(number, lambda number, _: os.kill(own, number))
    status = int(answers.readline())
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))


def serve(listener: socket.socket) -> list[str]:
    """Forks for each request; returns, in the forked process alone, the module and its arguments."""
    signal.signal(signal.SIGCHLD, reap)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
            sys.exit()  # closed by the tests' process, or by its end
        link, _ = listener.accept()
        if os.fork():
            link.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        head, streams, _, _ = socket.recv_fds(link, 4, 3)
        request = link.makefile("rb").read(int.from_bytes(head, "big"))
        if own := os.fork():
            wait(link, own)
        link.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
        arguments, folder, environment, ignored = json.loads(request)
        for number, answer in INTERRUPTS.items():  # the server's own are those of the shell that began the tests
            signal.signal(number, signal.SIG_IGN if number in ignored else answer)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        return arguments


def reap(number: int, frame: object) -> None:
    """Takes leave of the processes that :func:`wait`; their CPU time counts as the server's then."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def wait(link: socket.socket, process: int) -> None:
    """Tells the stand-in the process and how it ended; a process whose stand-in is killed is killed."""
    link.sendall(b"%d\n" % process)
    link.settimeout(0.02)
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        with suppress(TimeoutError):
            if not link.recv(1):
                os.kill(process, signal.SIGKILL)
    link.sendall(b"%d\n" % ended[1])
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "start":
        stand_in(sys.argv[2], sys.argv[3:])
    sys.path.remove(str(Path(__file__).parent))
    load()
    module, *arguments = serve(socket.socket(fileno=int(sys.argv[2])))
    sys.argv = ["", *arguments]  # runpy has the first
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path.cwd()), *filter(None, added)]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
