"""Small faults of Python modules, for `mutants.py`."""

import ast
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
PAIRS = (("min", "max"), ("any", "all"), ("floor", "ceil"), ("argmin", "argmax"), ("sort", "ravel"))
OPPOSITES = {name: other for pair in PAIRS for name, other in (pair, pair[::-1])}
COMMUTATIVE = ("min", "max", "minimum", "maximum")
Change = tuple[ast.AST, Callable[[], None]]
"""The node that is changed, which has the line, and the function that does it in place."""


def changes_of(node: ast.AST) -> Iterator[Change]:
    """Yield every small fault of a node."""
    match node:
        case ast.Constant():
            yield from _changes_of_constant(node)
        case ast.Call():
            yield from _changes_of_call(node)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if _is_plain(test):
            yield node, lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension(ifs=[condition]) if _is_plain(condition):
            yield node, lambda: setattr(node, "ifs", [ast.UnaryOp(ast.Not(), condition)])
        case ast.expr() | ast.AugAssign():
            yield from _changes_of_operator(node)
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield from _changes_of_block(block)


def _is_text(node: ast.expr) -> bool:
    """Tell a text, with which texts and paths are joined by the only operator that they have."""
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_plain(test: ast.expr) -> bool:
    """Tell whether no other change of a condition is its negation."""
    match test:
        case ast.UnaryOp(op=ast.Not()) | ast.Constant():
            return False
        case ast.Compare(ops=[operator]):
            return len(COMPARISONS[type(operator)]) > 1
    return True


def _changes_of_operator(node: ast.expr | ast.AugAssign) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=[operator]):
            for other in COMPARISONS[type(operator)]:
                yield node, lambda other=other: setattr(node, "ops", [other()])  # type: ignore[misc]
        case ast.BinOp(op=op, right=right) | ast.AugAssign(op=op, value=right) if type(
            op
        ) in ARITHMETIC and not _is_text(right):
            yield node, lambda: setattr(node, "op", ARITHMETIC[type(op)]())
        case ast.BoolOp(op=ast.And()):
            yield node, lambda: setattr(node, "op", ast.Or())
        case ast.BoolOp():
            yield node, lambda: setattr(node, "op", ast.And())
        case ast.UnaryOp(op=ast.USub()):
            yield node, lambda: setattr(node, "op", ast.UAdd())
        case ast.UnaryOp(op=ast.Not()):
            yield node, lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))


def _changes_of_constant(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case bool(value):
            yield node, lambda: setattr(node, "value", not value)
        case int(value):
            yield node, lambda: setattr(node, "value", value + 1)
            yield node, lambda: setattr(node, "value", value - 1)
        case float(value):
            yield node, lambda: setattr(node, "value", value * 1.1 if value else 1.0)


def _changes_of_call(node: ast.Call) -> Iterator[Change]:
    called = node.func
    name = getattr(called, "id", getattr(called, "attr", None))
    if name in OPPOSITES:
        attribute = "id" if isinstance(called, ast.Name) else "attr"
        yield node, lambda: setattr(called, attribute, OPPOSITES[name])
    first, second = map(ast.unparse, (*node.args, ast.Name(""), ast.Name(""))[:2])
    if second and first != second and not first.startswith("*") and name not in COMMUTATIVE:
        yield node, lambda: setattr(node, "args", [node.args[1], node.args[0], *node.args[2:]])


def _changes_of_block(block: list[ast.stmt]) -> Iterator[Change]:
    for place, statement in enumerate(block):
        match statement:
            case ast.Expr(value=ast.Constant()):  # a docstring
                continue
            case ast.Expr() | ast.AugAssign() | ast.Raise():
                other: ast.stmt = ast.Pass()
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                other = ast.Pass()
            case ast.Return(value=ast.expr()):
                other = ast.Return(ast.Constant(None))
            case ast.Continue():
                other = ast.Break()
            case ast.Break():
                other = ast.Continue()
            case _:
                continue
        ast.copy_location(other, statement)
        yield statement, lambda place=place, other=other: block.__setitem__(place, other)  # type: ignore[misc]


def judged(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes whose change a test could notice."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list") or isinstance(tree, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__slots__":
                continue
            if isinstance(child, ast.AST):
                yield child
                yield from judged(child)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of a module: the node in the order of `judged`, and which of its changes."""

    module: str  # relative to the root
    source: str = field(repr=False)
    place: int
    which: int
    line: int

    @property
    def name(self) -> str:
        """Return `module:line:place.which`, which stays the same while the module does."""
        return f"{self.module}:{self.line}:{self.place}.{self.which}"

    def texts(self) -> tuple[str, str]:
        """Return the module as ast prints it, and the same with the change."""
        tree = ast.parse(self.source)
        before = ast.unparse(tree)
        node = list(judged(tree))[self.place]
        list(changes_of(node))[self.which][1]()
        return before, ast.unparse(ast.fix_missing_locations(tree))

    def diff(self) -> str:
        """Return the lines that differ."""
        before, after = (text.splitlines() for text in self.texts())
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        return "\n".join(line for line in lines if not line.startswith("@@"))


def mutants_of(module: str) -> list[Mutant]:
    """Return every mutant of a module that differs from it."""
    found, line = [], 0
    source = (ROOT / module).read_text("utf-8")
    for place, node in enumerate(judged(ast.parse(source))):
        for which, (changed, _) in enumerate(changes_of(node)):
            line = getattr(changed, "lineno", line)
            found.append(Mutant(module, source, place, which, line))
    return found
