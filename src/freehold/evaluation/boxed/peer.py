"""One end of the line between the answer's process and the tests' process."""

from __future__ import annotations

import builtins
import json
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from .values import LONGEST_MESSAGE, CannotCross, pack, to_message, unpack

#: A JSON object that crosses the line between the processes, or a part of one.
Message = dict[str, Any]

#: Operations that one process may ask of an object in the other one.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda target, *args, **named: target(*args, **named),
    "getattr": getattr,
    "setattr": setattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
    "bool": bool,
    "isinstance": lambda target, value: isinstance(value, target),
    "eq": operator.eq,
    "lt": operator.lt,
    "le": operator.le,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "enter": lambda target: target.__enter__(),
    "exit": lambda target: target.__exit__(None, None, None),
}


class Gone(BaseException):
    """The other process ended, or sent what is not a message. No ``except Exception`` stops it."""


class OfTheAnswer(Exception):
    """An exception of a class that is not built in, raised in the other process."""


class Remote:
    """An object in the other process. It equals no value of this one, whatever its class says of itself."""

    def __init__(self, peer: Peer, number: int, name: str) -> None:
        vars(self).update(_peer=peer, _number=number, __name__=name)

    def _ask(self, operation: str, *args: Any, **named: Any) -> Any:
        return self._peer.ask(operation, self, args, named)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._ask("call", *args, **named)

    def __getattr__(self, name: str) -> Any:
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._ask("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._ask("setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        self._ask("delitem", key)

    def __len__(self) -> int:
        return self._ask("len")

    def __iter__(self) -> Iterator[Any]:
        return self._ask("iter")

    def __next__(self) -> Any:
        return self._ask("next")

    def __str__(self) -> str:
        return str(self._ask("str"))

    def __repr__(self) -> str:
        return str(self._ask("repr"))

    def __bool__(self) -> bool:
        return bool(self._ask("bool"))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and bool(self._ask("isinstance", value))

    def __enter__(self) -> Any:
        return self._ask("enter")

    def __exit__(self, *error: object) -> None:
        self._ask("exit")

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self._number == number_of(other) or self._ask("eq", other) is True

    def _between(self, operation: str, other: object) -> Any:
        """An operator between two objects of the other process; with a value of this one there is none."""
        return self._ask(operation, other) if isinstance(other, Remote) else NotImplemented

    def __lt__(self, other: object) -> Any:
        return self._between("lt", other)

    def __le__(self, other: object) -> Any:
        return self._between("le", other)

    def __add__(self, other: object) -> Any:
        return self._between("add", other)

    def __sub__(self, other: object) -> Any:
        return self._between("sub", other)

    def __mul__(self, other: object) -> Any:
        return self._between("mul", other)


def number_of(remote: Remote) -> int:
    """The number by which the other process knows an object of its own."""
    return int(vars(remote)["_number"])


class Peer:
    """``allows``: whether the other process may call an operation of an object here with these arguments."""

    def __init__(
        self, incoming: IO[bytes], outgoing: IO[bytes], allows: Callable[[str, Any, tuple[Any, ...]], bool]
    ) -> None:
        self._incoming, self._outgoing, self._allows = incoming, outgoing, allows
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._remotes: dict[int, Remote] = {}
        #: What was printed here since the last reply, and what takes what was printed there.
        self.printed: Callable[[], str] = str
        #: Why the other process is gone; "" while it is there.
        self.lost = ""
        #: Exception classes of the other process by name, as classes of this one.
        self.raises: dict[str, type[Exception]] = {}
        self.print: Callable[[str], object] = lambda text: None

    def _keep(self, value: Any) -> list[Any]:
        if isinstance(value, Remote):
            return ["object", -number_of(value), ""]
        number = self._numbers.get(id(value))
        if number is None:
            self._objects.append(value)
            number = self._numbers[id(value)] = len(self._objects)
        return ["object", number, str(getattr(value, "__name__", ""))[:100]]

    def _find(self, number: int, name: str) -> Any:
        if number < 0:
            return self._objects[-number - 1]
        if number not in self._remotes:
            self._remotes[number] = Remote(self, number, name)
        return self._remotes[number]

    def keep(self, value: Any) -> int:
        """The number by which the other process can name an object of this one."""
        return int(self._keep(value)[1])

    def remote(self, number: int, name: str = "") -> Remote:
        """The object of the other process with this number."""
        return self._find(number, name)

    def send(self, message: Message) -> None:
        """Raises Gone, CannotCross."""
        line = to_message(message)
        try:
            self._outgoing.write(line)
            self._outgoing.flush()
        except OSError:
            raise self._gone("the process of the answer ended") from None

    def receive(self) -> Message:
        """Raises Gone."""
        line = self._incoming.readline(LONGEST_MESSAGE + 1)
        try:
            message = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise self._gone("the process of the answer ended, or sent what is not a result")
        return message

    def ask(self, operation: str, target: Remote, args: tuple[Any, ...], named: Message) -> Any:
        """The result of an operation there. Lists and dictionaries that it changed are changed here."""
        packed = [pack(each, self._keep) for each in args]
        fields = {"operation": operation, "target": number_of(target), "args": packed}
        self.send(fields | {"named": [[key, pack(each, self._keep)] for key, each in named.items()]})
        while "operation" in (reply := self.receive()):
            self.answer(reply)
        try:
            self.print(str(reply.get("printed", "")))
            for position, changed in reply.get("changed", ()):
                _change(args[position], unpack(changed, self._find))
            if "error" in reply:
                raise self._raised(reply["error"])
            return unpack(reply["result"], self._find)
        except (KeyError, IndexError, RecursionError) as error:
            if "error" in reply:
                raise
            raise self._gone(f"the process of the answer sent what is not a result ({error})") from None

    def _gone(self, reason: str) -> Gone:
        self.lost = self.lost or reason
        return Gone(reason)

    def answer(self, request: Message) -> None:
        """Do what the other process asks, and tell it the result or the exception."""
        reply: Message = {}
        try:
            reply = self._done(request)
        except Gone:
            raise
        except BaseException as error:
            reply = {"error": described_error(error)}
        reply["printed"] = self.printed()
        try:
            self.send(reply)
        except CannotCross as error:
            self.send({"error": described_error(error)})

    def _done(self, request: Message) -> Message:
        operation, target = str(request["operation"]), self._objects[int(request["target"]) - 1]
        args = tuple(unpack(each, self._find) for each in request["args"])
        named = {str(key): unpack(each, self._find) for key, each in request["named"]}
        if not self._allows(operation, target, args):
            raise TypeError(f"{operation} is not allowed on this object")
        result = pack(OPERATIONS[operation](target, *args, **named), self._keep)
        after = [pack(each, self._keep) for each in args]
        pairs = zip(request["args"], after, strict=True)
        return {"result": result, "changed": [[n, new] for n, (old, new) in enumerate(pairs) if old != new]}

    def _raised(self, described: Any) -> Exception:
        """An exception for one of the other process: of its class, or of the nearest built-in one."""
        text, *names = map(str, described)
        name, _, message = text.partition(": ")
        kind = self.raises.get(name) or nearest_exception([name, *names] if names[:1] == [name] else names)
        try:
            return kind(message)
        except TypeError:  # UnicodeDecodeError and the like need more than a text
            return OfTheAnswer(text)


def _change(value: Any, new: Any) -> None:
    """Give a list, dictionary, set or the like the contents that it has in the other process."""
    if isinstance(value, list | bytearray) and isinstance(new, list | bytearray):
        value[:] = new
    elif isinstance(value, dict | set) and isinstance(new, dict | set):
        value.clear()
        value.update(new)


def described_error(error: BaseException) -> list[str]:
    """Class and message, then the names of the built-in classes of an exception, the nearest first."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    try:
        text = str(error)
    except BaseException:
        text = ""
    return [f"{type(error).__name__}: {text}"[:500], *names]


def nearest_exception(names: Iterable[str]) -> type[Exception]:
    """The first built-in Exception that is named; SystemExit and the like are none."""
    kinds = (getattr(builtins, name, None) for name in names)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, Exception)), OfTheAnswer)
