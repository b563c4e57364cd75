"""A call of an exported graph: its shape, its arguments by name, and where in the model it stands."""

from __future__ import annotations

from typing import Any

from landscape.tracing.graph.constants import operation

__all__ = ["Refusal", "arguments_of", "place_of", "shape_of"]


class Refusal(Exception):  # noqa: N818
    """Raised by a rule that cannot take an operation; its text is the reason, `at` another call that is the cause."""

    def __init__(self, text: str, at: Any = None) -> None:
        super().__init__(text)
        self.at = at


def arguments_of(call: Any) -> dict[str, Any]:
    """The arguments of a call by the names of its schema, defaults filled in."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return dict(call.kwargs)
    arguments: dict[str, Any] = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    arguments.update({a.name: value for a, value in zip(schema.arguments, call.args, strict=False)})
    return {**arguments, **call.kwargs}


def place_of(call: Any) -> str:
    """Where in the model a call stands: the module's path, and the operation where the module has several."""
    stack = list((call.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    leaf = str(kind).startswith("torch.nn.modules") and "container" not in str(kind)
    return path if leaf and path else ".".join(part for part in (path, operation(call)) if part)


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape that torch computed for a graph node, batch included."""
    return tuple(int(n) for n in node.meta["val"].shape)
