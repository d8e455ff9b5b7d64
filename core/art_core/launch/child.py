"""The child of the launcher that becomes the isolation.

It is forked before there is anything to launch and prepares in the meantime; then it gets the
order with its descriptors, does what is left, and executes.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from typing import NoReturn

from art_core.host import kernel, user_namespace
from art_core.host.messages import Socket, receive
from art_core.launch import mount_stage
from art_core.launch.order import Order, Step

OOM_SCORE_ADJUSTMENT = 500


def become(
    orders: Socket, report: int, diagnostics: int, failure: int, *, ready: int = -1, gate: int = -1
) -> NoReturn:
    """Prepare, wait for the order, and become the launched process. A step that fails is written
    to `failure`, which closes when the process was executed. A tracer's is told through `ready` that
    it can be seized, and reads `gate` before it executes."""
    step = "prepare"
    try:
        _reset_signals()
        with contextlib.suppress(OSError):
            kernel.join_session_keyring()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _make_preferred_oom_victim()
        mapping = user_namespace.Mapping() if os.geteuid() == 0 else None
        received = receive(orders)
        if received is None:
            os._exit(0)
        content, descriptors = received
        order = Order(*marshal.loads(content))
        enter = [descriptors[place] for place in order.enter]
        step = "enter"
        _enter([] if order.stage else enter)
        if order.identity is not None:
            uid, gid = order.identity
            step = "stage"
            if order.stage:
                assert mapping is not None
                with mapping.descriptor(uid, gid) as mapped:
                    sources = [descriptors[place] for place in order.stage]
                    staged = mount_stage.stage(sources, mapped, enter)
                    for place, fd in zip(order.stage, staged, strict=True):
                        descriptors[place] = fd
            step = "become"
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        elif os.geteuid() == 0:
            step = "devices"
            mount_stage.seal_devices()
        if mapping is not None:
            mapping.close()
        step = "scope"
        kernel.scope_abstract_sockets()
        step = "execute"
        os.chdir("/")
        if gate >= 0:
            kernel.allow_tracing_by(os.getppid())
            os.write(ready, b".")
            os.close(ready)
            if not os.read(gate, 1):
                os._exit(125)
        targets = {number: descriptors[place] for number, place in order.descriptors.items()}
        failure = _arrange({**targets, 2: diagnostics, **dict.fromkeys(order.report, report)}, failure)
        os.execve(order.argv[0], order.argv, order.env)
    except OSError as error:
        os.write(failure, marshal.dumps(tuple(Step(step, error.errno or 0))))
    finally:
        os._exit(125)


def _enter(namespaces: Sequence[int]) -> None:
    """Go where the home is mounted, if anywhere, and be somebody whom the isolation can be."""
    if len(namespaces) > 1:
        kernel.enter(namespaces[1], kernel.CLONE_NEWUSER)
    if namespaces:
        kernel.enter(namespaces[0], kernel.CLONE_NEWNS)
    if not user_namespace.keeps(os.geteuid(), os.getegid()):
        user_namespace.enter_new()


def _reset_signals() -> None:
    """Give every signal its default action, whatever the caller of ART ignored (nohup, a shell's
    background job): the command starts from a clean slate."""
    for number in signal.valid_signals():
        if signal.getsignal(number) in (signal.SIG_IGN, None):
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _make_preferred_oom_victim() -> None:
    """When memory runs out, the sandbox goes before the user's own programs (proc(5))."""
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError, ValueError):
        with open(path) as file:
            present = int(file.read())
        if present < OOM_SCORE_ADJUSTMENT:
            with open(path, "w") as file:
                file.write(str(OOM_SCORE_ADJUSTMENT))


def _arrange(targets: Mapping[int, int], failure: int) -> int:
    """Put each descriptor at its number, inheritable, and mark all others close-on-exec."""
    top = max(targets) + 1
    moved = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, top) for number, fd in targets.items()}
    failure = fcntl.fcntl(failure, fcntl.F_DUPFD_CLOEXEC, top)
    for number, fd in moved.items():
        os.dup2(fd, number, inheritable=True)
    for entry in os.listdir("/proc/self/fd"):
        fd = int(entry)
        if fd not in targets:
            with contextlib.suppress(OSError):
                os.set_inheritable(fd, False)
    return failure
