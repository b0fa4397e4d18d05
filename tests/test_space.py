"""What every space keeps: `SpaceContract`, held against brute force where a space is small."""

from __future__ import annotations

import functools
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.errors import ArchitectureError, SpaceError
from archipel.space import Space, count_text


class Scripted(Choose):
    """Reads a space function as a program that asks for decisions: an oracle that knows nothing of `Space`.

    Decisions come from `script`, by the position of the name in the order of asking; past its end the first is
    taken. `asked` is what was decided, `widths` how many ways there were.
    """

    def __init__(self, script: list[int]) -> None:
        self.script, self.asked, self.widths = script, {}, []

    def _decide(self, name, ways):
        if name not in self.asked:
            i = len(self.widths)
            self.widths.append(len(ways))
            self.asked[name] = ways[self.script[i] if i < len(self.script) else 0]
        return self.asked[name]

    def op(self, name, options):
        return options[self._decide(name, list(options))]()

    def subset(self, name, options, *, empty=None, mean=False):  # noqa: ARG002
        sizes = range(0 if callable(empty) else 1, len(options) + 1)
        ways = [c for size in sizes for c in itertools.combinations(options, size)]
        return nn.ModuleList([options[o]() for o in self._decide(name, ways)])

    def inputs(self, name, edges, *, k=1):
        factories = [nn.Identity] * edges if isinstance(edges, int) else edges
        ways = list(itertools.combinations(range(len(factories)), k))
        return nn.ModuleList([factories[i]() for i in self._decide(name, ways)])

    def value(self, name, options):
        return self._decide(name, list(options))


def enumerate_by_asking(space: Space) -> Iterator[Architecture]:
    script: list[int] = []
    while True:
        reader = Scripted(script)
        space.read(reader, device="meta")
        yield Architecture(reader.asked)
        script = [*script, *[0] * len(reader.widths)][: len(reader.widths)]
        while script and script[-1] == reader.widths[len(script) - 1] - 1:
            script.pop()
        if not script:
            return
        script[-1] += 1


def some(space: Space, n: int = 20) -> list[Architecture]:
    rng = random.Random(1)
    return [space.unrank(0), space.unrank(space.size - 1), *(space.sample(rng) for _ in range(n))]


def loose_codes(space: Space, rng: random.Random, n: int) -> torch.Tensor:
    """Codes with bits in inactive choices too, and subsets left empty where an empty one has a meaning."""
    rows = []
    for _ in range(n):
        row = [False] * space.width
        for choice in space.choices:
            least = 0 if choice.empty is not None else 1
            count = rng.randint(least, len(choice.options)) if choice.kind == "subset" else choice.k
            for i in rng.sample(range(len(choice.options)), count):
                row[space.slices[choice.name].start + i] = True
        rows.append(row)
    return torch.tensor(rows, dtype=torch.bool).reshape(n, space.width)


def steps_apart(space: Space, a: Architecture, b: Architecture) -> int:
    """How many single decisions lie between two architectures of a space without conditional choices."""
    steps = 0
    for choice in space.choices:
        if choice.kind == "subset":
            steps += len(set(a[choice.name]) ^ set(b[choice.name]))
        elif choice.kind == "inputs":
            steps += len(set(a[choice.name]) - set(b[choice.name]))
        else:
            steps += a[choice.name] != b[choice.name]
    return steps


def ends(space: Space) -> tuple[Architecture, Architecture]:
    return space.unrank(0), space.unrank(space.size - 1)


def differences(first: Architecture, second: Architecture) -> int:
    return sum(first.get(name) != second.get(name) for name in first)


class TestSpaceContract:
    def test_count_is_exact(self, small_space: Space) -> None:
        found = list(enumerate_by_asking(small_space))
        assert len(found) == len(set(found)) == small_space.size
        assert set(found) == set(small_space)

    def test_a_child_asks_for_just_what_its_architecture_sets(self, space: Space) -> None:
        for architecture in some(space):
            reader = Scripted([])
            reader.asked = dict(architecture)
            space.read(reader, device="meta")
            assert reader.asked == dict(architecture), "it asked for more"
            assert reader.widths == []

    def test_rank_and_unrank_are_inverse(self, space: Space) -> None:
        rng = random.Random(0)
        for index in {0, space.size - 1, *(rng.randrange(space.size) for _ in range(50))}:
            assert space.rank(space.unrank(index)) == index

    def test_unrank_refuses_what_is_outside(self, space: Space) -> None:
        for index in (-1, space.size):
            with pytest.raises(ArchitectureError, match=f"architecture {index} .* space of {space.size}"):
                space.unrank(index)

    def test_sampling_is_uniform(self, small_space: Space) -> None:
        rng = random.Random(0)
        n = max(2000, 20 * small_space.size)
        counts = Counter(small_space.sample(rng) for _ in range(n))
        expected = n / small_space.size
        statistic = sum((counts[a] - expected) ** 2 / expected for a in small_space)
        freedom = small_space.size - 1
        # Within 4 standard deviations of the mean of a chi-square of that many degrees of freedom, on both sides.
        assert abs(statistic - freedom) < 4 * math.sqrt(2 * freedom)

    def test_same_seed_same_sample(self, space: Space) -> None:
        first, second = ([space.sample(rng) for _ in range(5)] for rng in (random.Random(3), random.Random(3)))
        assert first == second

    def test_encode_and_decode_are_inverse(self, space: Space) -> None:
        codes = set()
        for architecture in some(space):
            code = space.encode(architecture)
            assert code.shape == (space.width,)
            assert code.dtype == torch.bool
            assert space.decode(code) == architecture
            codes.add(tuple(code.tolist()))
        assert len(codes) == len(set(some(space)))

    def test_slices_name_the_columns(self, space: Space) -> None:
        columns = [i for choice in space.choices for i in range(space.width)[space.slices[choice.name]]]
        assert columns == list(range(space.width))
        for architecture in some(space, 3):
            code = space.encode(architecture)
            for choice in space.choices:
                value = architecture.get(choice.name, ())
                chosen = value if isinstance(value, tuple) else (value,)
                assert code[space.slices[choice.name]].tolist() == [o in chosen for o in choice.options]

    def test_complete_is_decode_then_encode(self, space: Space) -> None:
        codes = loose_codes(space, random.Random(0), 50)
        before = codes.clone()
        by_one = torch.stack([space.encode(space.decode(code)) for code in codes])
        assert torch.equal(space.complete(codes), by_one)
        assert torch.equal(space.complete(codes.float()), by_one)
        assert torch.equal(codes, before)

    @pytest.mark.of_spaces(where=lambda space: space.choices)
    def test_codes_that_are_none_are_refused_alike(self, space: Space) -> None:
        rng = random.Random(0)
        refused = 0
        for _ in range(50):
            code = torch.tensor([rng.random() < 0.3 for _ in range(space.width)])
            try:
                decoded = space.decode(code)
            except ArchitectureError:
                refused += 1
                with pytest.raises(ArchitectureError, match="row 0 sets"):
                    space.complete(code[None])
            else:
                assert torch.equal(space.complete(code[None])[0], space.encode(decoded))
        if any(choice.empty is None for choice in space.choices):
            assert refused

    def test_json_is_the_identity(self, space: Space) -> None:
        for architecture in some(space):
            again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
            assert again == architecture == Architecture.from_json(json.dumps(architecture.to_json()))
            assert hash(again) == hash(architecture)
            assert again.key == architecture.key
            assert space.canonical(again) == architecture

    def test_different_architectures_have_different_keys(self, small_space: Space) -> None:
        assert len({a.key for a in small_space}) == small_space.size

    def test_canonical_is_idempotent_and_ordered(self, space: Space) -> None:
        names = [choice.name for choice in space.choices]
        for code in loose_codes(space, random.Random(2), 20):
            architecture = space.decode(code)
            assert space.canonical(architecture) == architecture
            assert list(architecture) == [name for name in names if name in architecture]
            shuffled = dict(sorted(architecture.items(), reverse=True))
            loose = {n: list(reversed(v)) if isinstance(v, tuple) else v for n, v in shuffled.items()}
            assert space.canonical(loose) == architecture
            assert list(space.canonical(loose)) == list(architecture)

    def test_neighbours_are_one_decision_away(self, space: Space) -> None:
        rng = random.Random(4)
        for architecture in some(space, 6):
            for near in space.neighbours(architecture, rng):
                assert space.canonical(near) == near
                both = architecture.keys() & near.keys()
                moved = [name for name in both if architecture[name] != near[name]]
                assert len(moved) == 1
                opened = architecture.keys() ^ near.keys()
                parents = {choice.name: choice.parent for choice in space.choices}
                assert all(self._stands_under(name, moved[0], parents) for name in opened)

    @staticmethod
    def _stands_under(name: str | None, ancestor: str, parents: dict[str, str | None]) -> bool:
        while name is not None and name != ancestor:
            name = parents[name]
        return name == ancestor

    @pytest.mark.of_spaces(where=lambda space: not any(choice.parent for choice in space.choices))
    def test_neighbours_are_all_and_symmetric_where_nothing_is_conditional(self, space: Space) -> None:
        """What a move opens has no one inverse."""
        for architecture in some(space, 4):
            near = space.neighbours(architecture)
            assert len(near) == len(set(near))
            assert all(steps_apart(space, architecture, other) == 1 for other in near)
            a_few = near[:: 1 + len(near) // 10]  # each has as many neighbours again
            assert all(architecture in space.neighbours(other) for other in a_few)

    def test_mutation_moves_one_step(self, space: Space) -> None:
        rng = random.Random(0)
        if space.size == 1:
            with pytest.raises(ArchitectureError, match="no other architecture"):
                space.mutate(space.unrank(0), rng)
            return
        seen = set()
        for architecture in some(space):
            mutated = space.mutate(architecture, rng)
            assert mutated != architecture
            assert space.canonical(mutated) == mutated
            both = architecture.keys() & mutated.keys()
            seen.add(next(name for name in both if architecture[name] != mutated[name]))
        always_open = set.intersection(*(set(architecture) for architecture in some(space)))
        assert len(seen) > 1 or len(always_open) == 1  # exits: all but the first are open only where images go on

    def test_mutation_reaches_every_architecture(self, small_space: Space) -> None:
        reached, border = set(), {small_space.unrank(0)}
        rng = random.Random(0)
        while border:
            reached |= border
            near = (n for a in border for n in (*small_space.neighbours(a), *small_space.neighbours(a, rng)))
            border = set(near) - reached
        assert len(reached) == small_space.size

    def test_crossover_takes_from_its_parents(self, space: Space) -> None:
        rng = random.Random(0)
        for first, second in itertools.pairwise(some(space)):
            child = space.crossover(first, second, rng)
            assert space.canonical(child) == child
            for name, value in child.items():
                parents = [p[name] for p in (first, second) if name in p]
                assert not parents or value in parents

    @pytest.mark.of_spaces(where=lambda space: differences(*ends(space)) > 1)
    def test_crossover_takes_from_both(self, space: Space) -> None:
        rng = random.Random(0)
        first, second = ends(space)
        children = {space.crossover(first, second, rng) for _ in range(50)}
        assert children - {first, second}

    def test_places_are_paths_in_the_child(self, space: Space) -> None:
        assert {name for _, name in space.places} == {c.name for c in space.choices if c.kind != "value"}
        for architecture in some(space, 3):
            modules = dict(space.build(architecture).named_modules())
            for path, name in space.places:
                choice = next(c for c in space.choices if c.name == name)
                if architecture.get(name) and choice.parent is None and choice.kind != "op":
                    assert path in modules

    def test_repr_counts(self, space: Space) -> None:
        assert repr(space).startswith(f"Space({space.name}: {len(space.choices)} choices, {space.width} code bits, ")


def test_digest_tells_spaces_apart() -> None:
    def ab(choose):
        return choose.op("l", {"a": nn.Identity, "b": nn.Identity})

    def ac(choose):
        return choose.op("l", {"a": nn.Identity, "c": nn.Identity})

    def summed(choose, *, mean=False):
        return choose.subset("l", {"a": nn.Identity, "b": nn.Identity}, mean=mean)

    assert Space(ab).digest == Space(ab).digest
    assert len({space.digest for space in (Space(ab), Space(ac), Space(summed), Space(summed, mean=True))}) == 4


class TestBuilding:
    def test_numbers_of_tensors_may_be_used_while_building(self) -> None:
        """Not possible on the meta device, on which the choices are read first."""

        def function(choose):
            steps = torch.linspace(1, 2, 3).tolist()
            return nn.Sequential(*(choose.op(f"l{s}", {"a": nn.Identity, "b": nn.ReLU}) for s in steps))

        assert Space(function).size == 8

    def test_options_of_the_function_are_passed_on(self) -> None:
        def function(choose, *, classes=3):  # noqa: ARG001
            return nn.Linear(2, classes)

        assert Space(function, classes=7).build({}).out_features == 7


def _op(choose, **options):
    return choose.op("l0", {"conv3": nn.Identity, "conv5": nn.Identity, **options})


class TestMistakesInASpaceFunction:
    """Each gives one line: thing, value, mend."""

    def _said(self, function, **options) -> str:
        with pytest.raises(SpaceError) as caught:
            Space(function, **options)
        text = str(caught.value)
        assert "\n" not in text
        return text

    def test_it_raises(self) -> None:
        def function(choose):  # noqa: ARG001
            raise KeyError("wide")

        said = self._said(function)
        assert said.startswith("space 'function' raised KeyError: 'wide' (test_space.py:")
        assert said == self._said(functools.wraps(function)(lambda choose: function(choose)))

    def test_it_raises_many_lines(self) -> None:
        def function(choose):  # noqa: ARG001
            raise RuntimeError("first\nsecond")

        assert "RuntimeError: first (" in self._said(function)

    def test_it_raises_inside_torch(self) -> None:
        def function(choose):  # noqa: ARG001
            return nn.Conv2d(3, 4, 3, groups=2)

        assert "in_channels must be divisible by groups (test_space.py:" in self._said(function)

    def test_it_returns_no_module(self) -> None:
        assert self._said(lambda choose: None) == "space '<lambda>' returned NoneType; return the network, an nn.Module"  # noqa: ARG005

    def test_it_is_no_function(self) -> None:
        assert "not Linear; pass the function" in self._said(nn.Linear(1, 1))
        assert "not int; pass the function" in self._said(3)

    def test_an_option_it_has_not(self) -> None:
        def function(choose, *, width=1.0):  # noqa: ARG001
            return nn.Identity()

        said = self._said(function, widht=0.5)
        assert said == "space 'function' has no option 'widht' (options: width); did you mean 'width'?"

    def test_two_choices_with_one_name(self) -> None:
        said = self._said(lambda choose: nn.Sequential(_op(choose), _op(choose, skip=nn.Identity)))
        assert "choice 'l0' is asked twice with different options" in said
        assert "another name" in said

    def test_one_name_in_two_kinds(self) -> None:
        said = self._said(lambda c: nn.Sequential(_op(c), c.subset("l0", {"conv3": nn.Identity})))
        assert "choice 'l0' is asked twice" in said

    def test_one_name_inside_and_outside(self) -> None:
        said = self._said(lambda c: nn.Sequential(_op(c), c.op("l1", {"in": lambda: _op(c), "skip": nn.Identity})))
        assert "choice 'l0' is asked twice with different options or in different places" in said

    def test_one_decision_in_two_options_of_a_subset(self) -> None:
        said = self._said(lambda c: c.subset("s", {"a": lambda: _op(c), "b": lambda: _op(c)}))
        assert "choice 'l0' stands in several options of subset 's'; give each its own name" in said

    def test_a_choice_that_is_active_where_it_does_not_stand(self) -> None:
        from archipel.nn import stack

        def function(choose):
            depth = choose.value("depth", [1, 2])  # asked outside of the option in which its stack stands
            layers = {"deep": lambda: stack(depth, lambda i: choose.op(f"l{i}", {"a": nn.Identity, "b": nn.ReLU}))}
            return choose.op("kind", {**layers, "skip": nn.Identity})

        said = self._said(function)
        assert "choice 'l0' depends on 'depth', but does not stand everywhere 'depth' is asked" in said

    def test_choices_in_what_an_empty_subset_runs(self) -> None:
        said = self._said(lambda c: c.subset("s", {"a": nn.Identity}, empty=lambda: _op(c)))
        assert "choice 'l0' stands in what subset 's' runs when empty" in said

    def test_a_module_for_a_factory(self) -> None:
        said = self._said(lambda c: _op(c, relu=nn.ReLU()))
        assert said == "option 'relu' of choice 'l0' is ReLU, not a factory; write `lambda: ReLU(...)`"
        said = self._said(lambda c: c.inputs("in", [nn.Identity, nn.ReLU()]))
        assert "option '1' of choice 'in' is ReLU, not a factory" in said
        said = self._said(lambda c: c.subset("s", {"a": nn.Identity}, empty=nn.Identity()))
        assert "option 'empty' of choice 's' is Identity, not a factory" in said

    def test_a_factory_that_makes_no_module(self) -> None:
        said = self._said(lambda c: _op(c, none=lambda: None))
        assert said == "option 'none' of choice 'l0' makes a NoneType; a factory returns an nn.Module"

    def test_no_options(self) -> None:
        assert "choice 'l0' has no options" in self._said(lambda c: c.op("l0", {}))
        assert "choice 'l0' has no options" in self._said(lambda c: c.op("l0", [nn.Identity]))

    def test_names_that_are_none(self) -> None:
        assert "option named 'a.b'; give a name without dots" in self._said(lambda c: c.op("l", {"a.b": nn.Identity}))
        assert "option named 'half', which torch keeps" in self._said(lambda c: c.op("l", {"half": nn.Identity}))
        assert "a choice is named 3; give it a name" in self._said(lambda c: c.op(3, {"a": nn.Identity}))

    def test_a_default_that_is_no_option(self) -> None:
        said = self._said(lambda c: c.subset("s", {"a": nn.Identity}, empty="b"))
        assert "subset 's' runs 'b' when empty, which is none of its options (a)" in said

    def test_more_inputs_than_there_are(self) -> None:
        assert "inputs 'in' takes 3 of 2 tensors; k is 1 to 2" in self._said(lambda c: c.inputs("in", 2, k=3))

    @pytest.mark.parametrize("values", [[], [1, 1], ["a"], [True, 2]])
    def test_values_that_are_none(self, values) -> None:
        said = self._said(lambda c: (c.value("v", values), nn.Identity())[1])
        assert f"value 'v' has options {values!r}; give different numbers" in said

    @pytest.mark.parametrize(
        "use",
        [range, float, bool, lambda v: v > 1, lambda v: v == 1, lambda v: nn.Conv2d(v, 2, 1), lambda v: [0, 1][v]],
        ids=["range", "float", "bool", ">", "==", "plain layer", "index"],
    )
    def test_an_open_value_used_as_a_number(self, use) -> None:
        said = self._said(lambda c: (use(c.value("depth", [1, 2])), nn.Identity())[1])
        assert "value 'depth' is still open while the network is built; pass it to an elastic layer" in said

    def test_an_open_value_given_to_a_plain_layer(self) -> None:
        said = self._said(lambda c: nn.Linear(c.value("width", [1, 2]), 2))
        assert said.endswith("; an open value goes to a layer of archipel.nn.elastic")


class TestMistakesInAnArchitecture:
    @pytest.fixture
    def space(self) -> Space:
        def function(choose):
            choose.value("v", [1, 2])
            return nn.Sequential(
                _op(choose),
                choose.subset("s", {"a": nn.Identity, "b": nn.Identity}),
                choose.inputs("in", 3, k=2),
            )

        return Space(function)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"l0": "conv4"}, "choice 'l0' has no option 'conv4' (options: conv3, conv5); did you mean 'conv"),
            ({"l0": ["conv3", "conv5"]}, "choice 'l0' takes one option, not 2"),
            ({"s": []}, "choice 's' is empty; give at least one of a, b"),
            ({"s": "a"}, "choice 's' takes a list of different options, not 'a'"),
            ({"s": ["a", "a"]}, "choice 's' takes a list of different options"),
            ({"in": [0]}, "choice 'in' takes 2 positions, not 1: [0]"),
            ({"in": [0, 3]}, "choice 'in' has no option 3 (options: 0, 1, 2)"),
            ({"v": 3}, "choice 'v' has no option 3 (options: 1, 2)"),
            ({"l00": "conv3"}, "space 'function' has no choice 'l00'; did you mean 'l0'?"),
        ],
    )
    def test_one_line_each(self, space: Space, change: dict, said: str) -> None:
        good = {"v": 1, "l0": "conv3", "s": ["a"], "in": [0, 1]}
        space.canonical(good)
        with pytest.raises(ArchitectureError) as caught:
            space.build({**good, **change})
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_choice_left_out(self, space: Space) -> None:
        with pytest.raises(
            ArchitectureError, match="choice 'l0' of space 'function' is not set; options: conv3, conv5"
        ):
            space.canonical({"v": 1, "s": ["a"], "in": [0, 1]})

    def test_codes_of_another_shape(self, space: Space) -> None:
        with pytest.raises(ArchitectureError, match=r"shape \[9\], not \[3\]"):
            space.decode(torch.zeros(3, dtype=torch.bool))
        with pytest.raises(ArchitectureError, match=r"shape \[B, 9\], not \[9\]"):
            space.complete(torch.zeros(9, dtype=torch.bool))

    def test_probabilities_are_no_codes(self, space: Space) -> None:
        with pytest.raises(ArchitectureError, match="0 or 1; round or sample probabilities first"):
            space.complete(torch.full((2, 9), 0.5))


def test_counts_to_read() -> None:
    assert [count_text(n) for n in (1, 999_999, 2**30, 7**648)] == ["1", "999,999", "1.07e+9", "4.20e+547"]
    assert count_text(31**7 * 32**10, digits=2) == "3.1e+25"
