"""What Python modules hold, by their syntax."""

import ast


def called(node: ast.Call) -> str:
    """Return the dotted name of what is called, from the last part that has no name."""
    parts, each = [], node.func
    while isinstance(each, ast.Attribute):
        parts.append(each.attr)
        each = each.value
    if isinstance(each, ast.Name):
        parts.append(each.id)
    return ".".join(reversed(parts))
