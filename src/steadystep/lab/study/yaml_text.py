"""Read YAML that people write: refuse what YAML accepts in silence and the writer did not mean."""

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

_EXPONENT = re.compile(r"[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$")
_LEADING_ZERO = re.compile(r"[-+]?0[\d_]+$")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class InvalidYamlError(ValueError):
    """The text is not YAML, or not what its writer can have meant; the message is one line."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also reads 1e-3 as the number that it is in YAML 1.2 and in Python."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def read_yaml(content: bytes) -> Any:
    """Return the content of a YAML document.

    Raises:
        InvalidYamlError: If it is not YAML, is nested too deeply, has a key twice in one place, or has a number that
            YAML reads as another one, such as the octal 010. The message is one line with the lines in question.

    >>> read_yaml(b"seeds: 3")
    {'seeds': 3}
    """
    try:
        return _read(_Loader(content))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise InvalidYamlError(_one_line(f"{problem}, on line {mark.line + 1}" if mark else problem)) from None
    except yaml.YAMLError as error:
        raise InvalidYamlError(_one_line(str(error))) from None
    except RecursionError:
        raise InvalidYamlError("it is nested too deeply") from None
    except InvalidYamlError:
        raise
    except (ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:
        # A value that has the form of a date or a number, or a tag that says so, and is none: !!int x, 2020-02-31.
        raise InvalidYamlError(_one_line(f"a value cannot be read ({error})")) from None


def _read(loader: _Loader) -> Any:
    root = loader.get_single_node()
    if root is None:
        return None
    nodes = list(_nodes(root))
    complaints = [*_repeated_keys(nodes), *_misread_numbers(nodes)]
    if complaints:
        raise InvalidYamlError("; ".join(complaints))
    return loader.construct_document(root)


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node once, without recursion: aliases can make the same node its own child."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        yield node
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else []
        children += node.value if isinstance(node, yaml.SequenceNode) else []
        for child in reversed(children):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def _repeated_keys(nodes: list[yaml.Node]) -> Iterator[str]:
    """Yield a complaint for each key that a mapping has more than once. A key may override a merged one (`<<`)."""
    for node in nodes:
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[Hashable, list[int]] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                lines.setdefault((key.tag, key.value), []).append(key.start_mark.line + 1)
        for (_, name), places in lines.items():  # pyright: ignore[reportGeneralTypeIssues]
            if len(places) > 1:
                numbers = " and ".join(map(str, places))
                yield f"the key {name!r} is given {len(places)} times, on lines {numbers}: keep one"


def _misread_numbers(nodes: list[yaml.Node]) -> Iterator[str]:
    """Yield a complaint for each number that YAML 1.1 reads in base 8 or base 60."""
    for node in nodes:
        if isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and node.style is None:
            base = 60 if ":" in node.value else 8 if _LEADING_ZERO.match(node.value) else None
            if base and node.value.strip("+-0_"):
                yield (
                    f"{node.value} on line {node.start_mark.line + 1} is a number in base {base} to YAML: "
                    "write it in base 10, or in quotes if it is no number"
                )


def _one_line(text: str) -> str:
    return " ".join(text.split())
