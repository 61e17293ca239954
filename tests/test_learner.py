"""A learner's backward: right ones pass, and every known mistake is named, by its name alone."""

import doctest

import numpy as np
import pytest

from numba_rnn import analysis, reference
from numba_rnn.analysis.cuts import NAMES, of_textbook
from numba_rnn.analysis.learner import _LADDER

KNOWN = {mistake.name: mistake for mistake in analysis.mistakes()}
RIGHT = of_textbook(reference)
ARGUMENTS = ("x", "h_0", "w_ih", "w_hh", "b_ih", "b_hh", "grad_output", "grad_h_n")


def only(student, *names):
    """A student that answers in part."""

    def partly(*arguments, **options):
        return {name: student(*arguments, **options)[name] for name in names}

    return partly


def test_the_textbook_is_right():
    check = analysis.check_backward(RIGHT)
    assert check.passed and check.mistakes == [] and check.rung is None
    assert list(check.rungs) == [rung.name for rung in _LADDER] and all(check.rungs.values())
    assert (
        str(check) == "Right, at 10 questions: the gradients of h, x, h_0, w_ih, w_hh, b_ih, b_hh."
    )


@pytest.mark.parametrize("name", KNOWN)
def test_every_mistake_is_named_by_its_own_name_alone(name):
    check = analysis.check_backward(KNOWN[name].student())
    assert check.mistakes == [name]
    assert not check.passed and not check.rungs[check.rung]
    assert name in str(check) and KNOWN[name].what in str(check)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_questions_tell_them_apart_too(seed):
    assert analysis.check_backward(RIGHT, rng=seed).passed
    for name, mistake in KNOWN.items():
        assert analysis.check_backward(mistake.student(), rng=seed).mistakes == [name]


FIRST = {
    "nothing carried": ("two steps", "h", 0),
    "h_t for h_(t-1)": ("one step", "w_hh", None),
    "W_hh not transposed": ("one step", "h_0", None),
    "the caller's gradient overwritten": ("one step", "grad_output", None),
    "the initial state overwritten": ("one step", "h_0", None),
    "f' left out": ("one step", "x", 0),
    "ReLU's slope 1 everywhere": ("ReLU", "h", 3),
    "steps not summed": ("two steps", "w_ih", None),
    "divided by the samples": ("a batch", "w_ih", None),
    "grad_h_n left out": ("one step, and h_n", "h", 0),
    "grad_h_n at every step": ("two steps, and h_n", "h", 0),
    "grad_h_n at the last step of the batch": ("lengths", "h", 2),
    "the wrong way through time": ("two steps", "h", 1),
    "padding counted": ("lengths", "h", 4),
    "reverse ignored": ("reverse", "h", 0),
}


@pytest.mark.parametrize("name", FIRST)
def test_what_is_wrong_first_and_where(name):
    check = analysis.check_backward(KNOWN[name].student())
    assert (check.rung, check.quantity, check.step) == FIRST[name]
    before = list(check.rungs)[: list(check.rungs).index(check.rung)]
    assert all(check.rungs[rung] for rung in before)


def test_one_step_alone_misses_many():
    missed = [
        name
        for name, mistake in KNOWN.items()
        if analysis.check_backward(mistake.student()).rungs["one step"]
    ]
    assert len(missed) >= 9


def test_the_step_at_which_the_gradient_goes_wrong():
    """What flows back from step 2 to step 1 is lost; a student answers with or without dh_t."""

    def student(x, h_0, w_ih, w_hh, b_ih, b_hh, grad_output, grad_h_n):
        output, _ = reference.layer_forward(x, h_0, w_ih, w_hh, b_ih, b_hh)
        carried, h = grad_h_n, np.concatenate([h_0[None], output])
        answer = {"h": np.zeros_like(output), "x": np.zeros_like(x), "w_ih": 0, "w_hh": 0}
        for t in reversed(range(len(x))):
            answer["h"][t] = grad_output[t] + (0 if t == 1 else carried)
            delta = answer["h"][t] * (1 - h[t + 1] ** 2)
            answer["x"][t], carried = delta @ w_ih, delta @ w_hh
            answer["w_ih"] = answer["w_ih"] + delta.T @ x[t]
            answer["w_hh"] = answer["w_hh"] + delta.T @ h[t]
        return answer

    for parts, quantity in (
        (("h", "x", "w_ih"), "h"), (("x", "w_hh"), "x"), (("w_ih",), "w_ih"),
        (("w_hh", "w_ih"), "w_ih"),
    ):  # fmt: skip
        check = analysis.check_backward(only(student, *parts))
        assert (check.rung, check.quantity, check.step) == ("two steps, and h_n", quantity, 1), (
            parts
        )
        assert "first at step 1 of 2" in str(check) and "None of the known mistakes" in str(check)
    assert analysis.check_backward(only(student, "w_hh")).step is None  # it can't be told


class TestScope:
    def test_partial_answers(self):
        for name in NAMES:
            check = analysis.check_backward(only(RIGHT, name))
            assert check.passed and str(check).endswith(f"the gradients of {name}.")
        check = analysis.check_backward(only(KNOWN["a bias counted twice"].student(), "w_hh", "x"))
        assert check.passed  # what is wrong was not answered
        check = analysis.check_backward(only(KNOWN["nothing carried"].student(), "w_ih"))
        assert check.mistakes == ["nothing carried"] and check.step == 0

    def test_b_stands_for_both_biases_and_none_for_no_answer(self):
        def student(*arguments):
            answer = RIGHT(*arguments)
            return {"b": answer["b_ih"], "w_hh": answer["w_hh"], "x": None}

        check = analysis.check_backward(student)
        assert check.passed and str(check).endswith("the gradients of w_hh, b_ih, b_hh.")

    def test_nothing_answered_is_not_right(self):
        check = analysis.check_backward(lambda *arguments: {})
        assert not check.passed and "Nothing was answered" in str(check)

    def test_what_a_student_can_do_shows_in_its_arguments(self):
        def tanh_alone(x, h_0, w_ih, w_hh, b_ih, b_hh, grad_output, grad_h_n):
            return RIGHT(x, h_0, w_ih, w_hh, b_ih, b_hh, grad_output, grad_h_n)

        def with_lengths(*arguments, lengths=None):
            return RIGHT(*arguments, lengths=lengths)

        assert list(analysis.check_backward(tanh_alone).rungs)[-2:] == ["five steps", "a batch"]
        assert list(analysis.check_backward(with_lengths).rungs)[-2:] == ["a batch", "lengths"]
        assert len(analysis.check_backward(RIGHT, scope=()).rungs) == 5
        assert len(analysis.check_backward(RIGHT, scope=("relu",)).rungs) == 6
        with pytest.raises(
            ValueError, match="scope must be words of batch, relu, lengths, reverse"
        ):
            analysis.check_backward(RIGHT, scope=("tanh",))
        with pytest.raises(ValueError, match="scope must be words of"):
            analysis.check_backward(RIGHT, scope="relu")

    def test_a_mistake_out_of_scope_is_no_mistake(self):
        student = KNOWN["ReLU's slope 1 everywhere"].student()
        assert analysis.check_backward(student, scope=("batch", "lengths", "reverse")).passed


class TestFaults:
    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_what_is_written_to_is_named(self, name):
        def student(*arguments, **options):
            answer = RIGHT(*arguments, **options)
            arguments[ARGUMENTS.index(name)][...] += 0.0
            return answer

        check = analysis.check_backward(student)
        assert not check.passed and check.quantity == name
        assert f"It writes to {name}, which the caller may need again" in str(check)

    def test_errors_are_told(self):
        check = analysis.check_backward(lambda *arguments: 1 / 0)
        assert not check.passed and "'one step' is not answered: ZeroDivisionError" in str(check)
        assert check.mistakes == []

        def after_two(*arguments, **options):
            if len(arguments[0]) > 2:
                raise RuntimeError("too long")
            return RIGHT(*arguments, **options)

        check = analysis.check_backward(after_two)
        assert check.rung == "five steps" and "RuntimeError: too long" in str(check)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (
                {"w_ih": np.zeros((3, 4))},
                r"gradient of w_ih must have shape \(4, 3\), got \(3, 4\)",
            ),
            ({"h": np.zeros((1, 4))}, r"gradient of h must have shape \(1, 1, 4\)"),
            ({"W": 0}, r"must return gradients of h, x, .* or b, got \['W'\]"),
            ((1, 2), "must return a dict of gradients, got tuple"),
            (None, "must return a dict of gradients"),
        ],
    )
    def test_answers_of_another_form(self, answer, words):
        check = analysis.check_backward(lambda *arguments: answer)
        assert not check.passed
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(str(check))

    def test_nan_is_wrong(self):
        check = analysis.check_backward(
            lambda *a, **o: RIGHT(*a, **o) | {"w_hh": np.full((4, 4), np.nan)}
        )
        assert not check.passed and check.quantity == "w_hh"

    def test_bad_arguments(self):
        with pytest.raises(TypeError, match="student must be a function, got int 3"):
            analysis.check_backward(3)
        with pytest.raises(ValueError, match="tolerance must lie in"):
            analysis.check_backward(RIGHT, tolerance=0)
        with pytest.raises(ValueError, match="rng must lie in"):
            analysis.check_backward(RIGHT, rng=-1)


class TestMistakes:
    def test_they_are_cut_from_the_textbook(self):
        with open(reference.__file__, encoding="utf-8") as file:
            text = file.read()
        assert len(KNOWN) == len(analysis.mistakes()) >= 19
        for mistake in KNOWN.values():
            changed = mistake.source()
            assert changed != text and mistake.what.endswith(".") and mistake.why.endswith(".")
            lines = set(changed.splitlines()) ^ set(text.splitlines())
            assert 1 <= len(lines) <= 10, mistake.name

    def test_a_cut_that_fits_nowhere_is_an_error(self):
        mistake = type(KNOWN["f' left out"])("x", "y", "z", (("cell_backward", "no line", ""),))
        with pytest.raises(RuntimeError, match=r"mistake 'x' does not fit reference.py: 'no line'"):
            mistake.source()

    def test_the_list_is_the_callers_own(self):
        analysis.mistakes().clear()
        assert analysis.mistakes()


# --- layouts: the docstrings' students, which are right or make a known mistake -------------------


def defined(function):
    """The functions that the example of a docstring defines."""
    names = {}
    (test,) = doctest.DocTestFinder().find(function, function.__name__)
    for example in test.examples:
        if example.source.startswith(("import", "from", "def")):
            exec(example.source, names)
    return names


def changed(function, old, new):
    """The same, with a piece of their source changed."""
    names = {}
    (test,) = doctest.DocTestFinder().find(function, function.__name__)
    sources = [e.source for e in test.examples if e.source.startswith(("import", "from", "def"))]
    assert sum(source.count(old) for source in sources) == 1
    for source in sources:
        exec(source.replace(old, new), names)
    return names


class TestLayouts:
    def test_min_char_rnn(self):
        adapt = analysis.from_min_char_rnn
        check = analysis.check_backward(adapt(defined(adapt)["backward"]))
        assert check.passed and len(check.rungs) == 5
        for old, new, name in (
            ("dhraw @ hs[t].T", "dhraw @ hs[t + 1].T", "h_t for h_(t-1)"),
            ("dhnext = Whh.T @ dhraw", "dhnext = Whh @ dhraw", "W_hh not transposed"),
            ("(dhs[t] + dhnext)", "dhs[t]", None),
            ("dbh += dhraw", "dbh += 2 * dhraw", "a bias counted twice"),
            ("(1 - hs[t + 1] ** 2) * (", "(", "f' left out"),
        ):
            backward = changed(adapt, old, new)["backward"]
            found = analysis.check_backward(adapt(backward)).mistakes
            assert found == ["nothing carried" if name is None else name]

    def test_min_char_rnn_that_returns_dhprev(self):
        adapt = analysis.from_min_char_rnn
        backward = changed(adapt, "return dWxh, dWhh, dbh", "return dWxh, dWhh, dbh, dhnext")
        check = analysis.check_backward(adapt(backward["backward"]))
        assert check.passed and "h_0" in str(check)

    def test_cs231n(self):
        adapt = analysis.from_cs231n
        right = defined(adapt)
        names = {}
        (test,) = doctest.DocTestFinder().find(adapt, "a")
        source = (
            test.examples[3]
            .source.replace(
                "dWx, dWh = np.zeros_like(Wx), np.zeros_like(Wh)",
                "dWx, dWh, carried = np.zeros_like(Wx), np.zeros_like(Wh), 0",
            )
            .replace("da = dh[:, t] *", "da = (dh[:, t] + carried) *")
        )
        exec("import numpy as np\n" + source, names)
        check = analysis.check_backward(adapt(right["forward"], names["backward"]))
        assert check.passed and list(check.rungs)[-1] == "a batch"
        wrong = source.replace("da @ Wh.T", "da @ Wh")
        exec("import numpy as np\n" + wrong, names)
        check = analysis.check_backward(adapt(right["forward"], names["backward"]))
        assert check.mistakes == ["W_hh not transposed"]

    def test_deeplearning_ai(self):
        adapt = analysis.from_deeplearning_ai
        check = analysis.check_backward(
            adapt(*(defined(adapt)[n] for n in ("forward", "backward")))
        )
        assert check.passed and "h_0, w_hh" in str(check)
        names = changed(adapt, "states[t].T", "states[t + 1].T")
        check = analysis.check_backward(adapt(names["forward"], names["backward"]))
        assert check.mistakes == ["h_t for h_(t-1)"]

    def test_they_get_what_they_can_not_write_to(self):
        """A gradient that is overwritten is found in these layouts as well."""
        adapt = analysis.from_min_char_rnn
        backward = changed(adapt, "dhraw = (1", "dhs[t][...] += 0\n        dhraw = (1")["backward"]
        check = analysis.check_backward(adapt(backward))
        assert not check.passed and "It writes to grad_output, which" in str(check)
