"""Virtual time, and processes on it that can be stopped, continued and killed.

One loop runs all of a simulation. Whatever a process has started, callbacks and timers, belongs to
it by a context variable: a stopped process runs nothing and finds its timers overdue when it goes
on, as after SIGSTOP; a killed one never runs again and cleans nothing up, as after SIGKILL.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple, Unpack

import looptime

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
RESOLUTION = 1e-6
COST = 2e-6
"""Seconds that each callback of a process takes: who waits for less than the clock can tell would
else wait for ever."""


@dataclass(eq=False)
class Process:
    """One incarnation of a program."""

    name: str
    is_dead: bool = False
    is_stopped: bool = False
    _parked: list[_Parcel] = field(default_factory=list)

    def kill(self) -> None:
        """End it here and now: nothing of it runs again."""
        self.is_dead = True
        self._parked.clear()

    def stop(self) -> None:
        """Let nothing of it run until `go_on`."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Let it run again; what became due in between is due now."""
        self.is_stopped = False
        parked, self._parked = self._parked, []
        for one in parked:
            one.send_again()

    def park(self, parcel: _Parcel) -> None:
        """Keep what is to run when it goes on."""
        self._parked.append(parcel)


OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("owner", default=None)
NOBODY = contextvars.Context()
"""The world's own: what runs in it belongs to no process."""


class _Parcel:
    """A callback of a process, on its way."""

    __slots__ = ("args", "callback", "context", "handle", "loop", "owner")

    def __init__(
        self, loop: VirtualLoop, owner: Process, callback: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self.loop, self.owner = loop, owner
        self.callback, self.args = callback, args
        self.context: contextvars.Context | None = None
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.owner.is_dead or (self.handle is not None and self.handle.cancelled()):
            return
        if self.owner.is_stopped:
            self.owner.park(self)
        else:
            self.loop.spent += COST
            self.callback(*self.args)

    def send_again(self) -> None:
        self.loop.send(self)


class VirtualLoop(looptime.LoopTimeEventLoop, asyncio.SelectorEventLoop):
    """An event loop whose time is that of its timers."""

    def __init__(self) -> None:
        # No empty cycles before time moves: nothing comes from outside, and asyncio does not wait
        # before all that is ready has run.
        super().__init__(resolution=RESOLUTION, noop_cycles=0)
        self.spent = 0.0
        self.is_over = False
        """What killed processes have left is swept up after the end: it sets nothing off."""

    def time(self) -> float:
        """Give the seconds since the beginning."""
        return super().time() + self.spent

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Run a callback in the next cycle, or when its process goes on."""
        if self.is_over:
            return asyncio.Handle(callback, args, self, context)
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is None:
            return super().call_soon(callback, *args, context=context)
        parcel = _Parcel(self, owner, callback, args)
        parcel.context = context or contextvars.copy_context()
        parcel.handle = super().call_soon(parcel, context=parcel.context)
        return parcel.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at a time, or when its process goes on after that."""
        owner = OWNER.get() if context is None else context.get(OWNER)
        if owner is None:
            return super().call_at(when, callback, *args, context=context)
        parcel = _Parcel(self, owner, callback, args)
        parcel.context = context or contextvars.copy_context()
        handle = super().call_at(when, parcel, context=parcel.context)
        parcel.handle = handle
        return handle

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Compute here and now: a thread would take its time from another clock."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def send(self, parcel: _Parcel) -> None:
        """Run what was parked."""
        super().call_soon(parcel, context=parcel.context)

    def after(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Let something happen in the world: it belongs to no process."""
        super().call_at(self.time() + seconds, callback, *args, context=NOBODY.copy())


def own(process: Process) -> contextvars.Context:
    """Make the context in which a process' first task runs."""
    context = contextvars.Context()
    context.run(OWNER.set, process)
    return context
