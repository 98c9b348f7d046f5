"""YAML that people write: what is read, and what is refused in one line."""

import pytest

from steadystep.lab.study.yaml_text import InvalidYamlError, read_yaml

REFUSED = {
    "key twice": ("seeds: 1\ntask: a\nseeds: 2", "the key 'seeds' is given 2 times, on lines 1 and 3"),
    "key twice in quotes": ("seeds: 1\n'seeds': 2", "'seeds' is given 2 times, on lines 1 and 2"),
    "key twice with one value": ("seeds: 1\nseeds: 1", "'seeds' is given 2 times"),
    "key three times": ("a: 1\na: 2\n\na: 3", "'a' is given 3 times, on lines 1 and 2 and 4"),
    "key twice in a list": ("arms:\n- lrs: [1]\n  name: a\n  lrs: [2]", "'lrs' is given 2 times, on lines 2 and 4"),
    "key twice on one line": (
        "arms: [{name: a, options: {eps: 1, eps: 2}}]",
        "'eps' is given 2 times, on lines 1 and 1",
    ),
    "key twice in a shared part": ("x: &x {a: 1, a: 2}\ny: *x", "'a' is given 2 times, on lines 1 and 1: keep one"),
    "two keys twice": ("a: 1\nb: 1\na: 2\nb: 2", "'b' is given 2 times, on lines 2 and 4"),
    "merge key twice": ("x: &x {a: 1}\ny: {<<: *x, <<: *x}", "'<<' is given 2 times"),
    "JSON": ('{"study": {"seeds": 1,\n"seeds": 2}}', "'seeds' is given 2 times, on lines 1 and 2"),
    "base 8": ("seeds: 010", "010 on line 1 is a number in base 8"),
    "base 60": ("a: 1\nbudgets: [1, 1:30]", "1:30 on line 2 is a number in base 60"),
    "fraction in base 60": ("lrs: [1:30.5]", "base 60"),
    "nested": ("[" * 200_000, "nested too deeply"),
    "nested and closed": ("{a: " * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
    "no number": ("seeds: !!int x", "a value cannot be read"),
    "no fraction": ("lr: !!float x", "a value cannot be read"),
    "no truth value": ("a: !!bool x", "a value cannot be read"),
    "no date": ("a: 2020-02-31", "a value cannot be read"),
    "no time": ("a: !!timestamp x", "a value cannot be read"),
    "long number": ("seeds: " + "9" * 5_000, "a value cannot be read"),
    "list as a key": ("{[1]: 2}", "unhashable"),
    "object": ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "two documents": ("a: 1\n---\nb: 2", "a single document"),
    "open list": ("a: [1", "on line 1"),
    "tab": ("a:\n\tb: 1", "on line 2"),
    "control character": ("a: \x00", "special characters are not allowed"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(InvalidYamlError) as refusal:
        read_yaml(text.encode())
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


READ = {
    "exponents": ("[1e-3, 1E5, -2e+4, 1.5e3, 3.e-2, 1e3]", [1e-3, 1e5, -2e4, 1.5e3, 3e-2, 1e3]),
    "other numbers": ("[0, -1, 1_000, 0x10, .5, 0.50, 00.5]", [0, -1, 1000, 16, 0.5, 0.5, 0.5]),
    "words": ("[1e, e3, 1-3, 010x, '010', \"1:30\", 1e-3x]", ["1e", "e3", "1-3", "010x", "010", "1:30", "1e-3x"]),
    "one key in two places": ("a: {x: 1}\nb: {x: 2}", {"a": {"x": 1}, "b": {"x": 2}}),
    "an override of a merged key": (
        "x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}",
        {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}},
    ),
    "a chain of merges": (
        "x: &x {a: 1}\ny: &y {<<: *x, a: 2}\nz: {<<: *y, a: 3}",
        {"x": {"a": 1}, "y": {"a": 2}, "z": {"a": 3}},
    ),
    "nothing": ("", None),
    "a comment": ("# nothing", None),
    "Windows lines": ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
}


@pytest.mark.parametrize(("text", "content"), READ.values(), ids=READ)
def test_what_is_meant_is_read(text: str, content: object) -> None:
    assert read_yaml(text.encode()) == content


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encodings_of_editors_are_read(encoding: str) -> None:
    assert read_yaml("name: σ".encode(encoding)) == {"name": "σ"}


def test_another_encoding_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidYamlError) as refusal:
        read_yaml("name: é".encode("latin-1"))
    assert "\n" not in str(refusal.value)


def test_a_node_that_contains_itself_ends() -> None:
    content = read_yaml(b"a: &a [*a]")
    assert content["a"][0] is content["a"]
