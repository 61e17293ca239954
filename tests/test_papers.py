"""The papers again: scripts run, and the committed results are theirs and in a band."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

PAPERS = Path(__file__).parents[1] / "examples" / "papers"
NAMES = sorted(path.stem for path in PAPERS.glob("*.py") if path.stem != "record")


# Where the committed numbers have to lie, and why there.
BANDS = {
    "elman_xor": {
        "third_2": (0.2, 0.35, "1/3 is the best without the phase, and a little of it is inferred"),
        "others_2": (0.5, 0.54, "sqrt(5/18) = 0.527 without the phase, 1/2 with it"),
        "dips_2": (0.8, 1.0, "one run of five may stay without"),
        "third_8": (0.0, 0.05, "8 units infer the phase, and then nothing is left to chance"),
        "others_8": (0.49, 0.52, "with the phase: chance, 1/2"),
        "dips_8": (1.0, 1.0, "all"),
    },
    "elman_letters": {
        "consonants": (0.26, 0.29, "chance: sqrt(2/27) = 0.272, and 3,000 letters make it uneven"),
        "vowels": (0.0, 0.03, "known for sure: a tenth of the error at consonants at most"),
        "consonant_bit": (0.0, 0.03, "known for sure"),
        "high_bit": (0.45, 0.5, "chance: sqrt(2)/3 = 0.471"),
    },
    "elman_words": {
        "error": (0.89, 0.93, "at least that of the likelihoods, and little more"),
        "least_error": (0.88, 0.91, "of the corpus, whatever is learned"),
        "likelihood": (0.1, 0.2, "what the two lines before leave: sqrt(0.91^2 - 0.90^2) = 0.13"),
        "per_output": (0.02, 0.036, "the same by sqrt(31)"),
        "cosine": (0.88, 0.95, "0.916 in the paper, and as much to either side"),
        "verbs_wrong": (
            0,
            11,
            "not reached: at worst the first cut leaves all 11 verbs with nouns",
        ),
        "alive_wrong": (0, 3, "three animals may lie beside the things"),
    },
    "pascanu_order": {
        "success": (0.6, 1.0, "two runs of three, or all"),
        "wrong": (0, 25, "one run of three may be at guessing, 75"),
        "wrong_without": (0, 25, "one run of three may be at guessing, 75"),
        "loss": (0, 0.47, "one run of three may be at guessing, ln 4"),
        "longer": (1, 75, "not reached: worse than the paper's 1, better than guessing"),
    },
    "le_adding": {
        "irnn": (0, 0.0167, "solved: a tenth of the error of who answers 1"),
        "answering_1": (0.16, 0.173, "1/6, and three standard deviations of 10,000 samples"),
    },
    "le_digits": {
        "plain": (80, 97, "learned, and not better than the paper's"),
        "shuffled": (60, 90, "learned, and worse than in order"),
    },
    "pascanu_cliff": {
        "fold_low": (-2.65562, -2.65560, "the closed form, -2.655609, to the bisection's 1e-6"),
        "fold_high": (-2.34440, -2.34438, "the closed form, -2.344391"),
        "cliff": (
            -2.6125,
            -2.6121,
            "x_0 is a fixed point at -2.6123; 50 steps blur by 1e-4",
        ),
        "jump": (0.32, 0.34, "0.33 in the figure"),
        "steepest": (2000, 10_000, "a wall: the middle fixed point multiplies by 1.175 a step"),
        "thrown": (1.0, 5.0, "across half of the picture, which is 2 high and 4 wide"),
        "clipped": (0.0099, 0.0101, "the learning rate times the clip"),
        "error": (0.02, 0.5, "thrown on to a plateau, far from the valley"),
        "error_clipped": (0.0, 0.01, "in the valley"),
    },
    "tallec_balance": {
        "right_from": (41, 41, "by the powers of A"),
        "pieces_right_from": (110, 110, "by the powers of A"),
        "theta": (-1 / 6 - 5e-5, -1 / 6 + 5e-5, "the gap shrinks by 1 - 36e-4 an update: 1.3e-5"),
        "diverged": (
            300,
            700,
            "theta + 1/6 grows by some 1 + 60e-4 an update: 455",
        ),
    },
}


@pytest.fixture
def load(monkeypatch):
    """Import a script of the folder as one that is run there does its neighbour."""
    monkeypatch.syspath_prepend(PAPERS)
    return importlib.import_module


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def committed(name):
    return read(PAPERS / "results" / f"{name}.json")


def well_formed(record, paper, quick):
    """Hold a file to what its script says of itself."""
    settings = paper.quick if quick else paper.whole
    assert record["name"] == paper.name and record["source"] == paper.source
    assert record["quick"] is quick and record["settings"] == settings
    assert paper.quick.keys() == paper.whole.keys()
    assert len(record["seeds"]) == settings["seeds"]
    assert record["deviations"] == list(paper.deviations) and paper.deviations
    assert record["numbers"].keys() == paper.numbers.keys()
    for key, row in record["numbers"].items():
        number = paper.numbers[key]
        assert (row["what"], row["paper"], row["said"], row["why"], row["digits"]) == (
            number.what, number.paper, number.said, number.why, number.digits,
        )  # fmt: skip
        assert number.said or number.paper is not None
        values = row["by_seed"]
        assert len(values) == settings["seeds"] and np.isfinite(values).all()
        assert row["ours"] == pytest.approx(np.mean(values))
        assert (row["least"], row["most"]) == (min(values), max(values))
        if number.paper is not None:
            assert row["difference"] == pytest.approx(row["ours"] - number.paper)
    assert record["curves"] and record["seconds"] > 0 and record["processor"]
    assert record["versions"].keys() == {"python", "numba_rnn", "numba", "numpy", "scipy"}


def test_there_are_eight():
    assert len(NAMES) == 8
    assert sorted(path.stem for path in (PAPERS / "results").glob("*")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = load(name)
    assert script.run(["--quick", "--seed", "3"]) == 0
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert path == tmp_path / "quick" / f"{name}.json"
    record = read(path)
    well_formed(record, script.PAPER, quick=True)
    assert record["seeds"][0] == 3
    assert f"written: {path.relative_to(tmp_path)}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_does(name, load):
    text = load(name).__doc__
    for word in ("Source:", "Reproduced:", "Settings:", "Deviations:"):
        assert f"\n{word} " in text
    assert f"python examples/papers/{name}.py" in text


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_result_is_the_scripts(name, load):
    well_formed(committed(name), load(name).PAPER, quick=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_result_lies_in_its_band(name):
    numbers, bands = committed(name)["numbers"], BANDS[name]
    assert numbers.keys() == bands.keys()
    for key, (low, high, why) in bands.items():
        assert low <= numbers[key]["ours"] <= high, f"{key}: {why}"


def test_three_clusters_of_words_are_their_classes(load):
    script, curves = load("elman_words"), committed("elman_words")["curves"]
    labels = script.hierarchy.fcluster(np.array(curves["linkage"]), 3, "maxclust")
    found = {frozenset(np.array(curves["words"])[labels == i].tolist()) for i in (1, 2, 3)}
    assert found == {frozenset(c) for c in (script.ALIVE, script.INANIMATE, script.VERBS)}


def test_the_readme_has_the_results(load):
    readme = (PAPERS / "README.md").read_text(encoding="utf-8")
    assert load("record").table(PAPERS / "results") in readme


# --- what the scripts compute, by other means -----------------------------------------------------


def test_a_wall_of_one_unit(load):
    script = load("pascanu_cliff")
    at, eps = np.array([5.1, -2.7]), 1e-6
    _, gradient, x_50 = script.error(*at)
    for i, step in enumerate(np.eye(2) * eps):
        slope = (script.error(*(at + step))[0] - script.error(*(at - step))[0]) / (2 * eps)
        assert gradient[i] == pytest.approx(slope, rel=1e-5)
    x = 0.5
    for _ in range(50):
        x = 5.1 / (1 + math.exp(-x)) - 2.7
    assert x_50 == pytest.approx(x, rel=1e-9)
    assert [len(script.fixed_points(b)) for b in (-2.7, -2.5, -2.3)] == [1, 3, 1]


def test_truncation_has_the_wrong_sign_by_powers_of_the_matrix(load):
    script = load("tallec_balance")
    influence = [(np.linalg.matrix_power(script.A, k) @ script.V)[0] for k in range(400)]
    whole = np.cumsum(influence)  # ds_t[0] / dtheta, K steps back
    assert whole[-1] == pytest.approx(-6)
    rnn = script.network()
    h = script.settled(rnn, 0.5)
    assert h[0, 0, 0] - script.SHIFT == pytest.approx(-3)
    for K in (1, 10, 40, 41, 100):  # the loss's slope is -3 - 1
        assert script.gradient(rnn, 0.5, h, K)[0] == pytest.approx(-4 * whole[K - 1])
    pieces = np.cumsum(whole) / np.arange(1, 401)
    slope = script.gradient(rnn, 0.5, h, 109, every_step=True)[0]
    assert slope == pytest.approx(-4 * pieces[108])


def test_words(load):
    script = load("elman_words")
    assert len(set(script.WORDS)) == len(script.WORDS) == 29
    assert {word for t in script.TEMPLATES for kind in t for word in kind} == set(script.WORDS)
    words, places = script.corpus(np.random.default_rng(0), 500)
    likely = script.likelihoods(words, places)
    np.testing.assert_allclose(likely.sum(axis=1), 1)
    assert (likely[np.arange(len(likely)), words[1:]] > 0).all()
    # the first words of all sentences together
    assert set(words[places == 0]) <= {script.WORDS.index(word) for word in script.NOUNS}
    points = np.array([[0.0], [0.1], [5.0], [5.1]])
    assert script.wrong_sides(points, [True, True, False, False])[0] == 0
    assert script.wrong_sides(points, [True, False, False, False])[0] == 1


def test_bits_and_letters(load):
    bits = load("elman_xor").bits(np.random.default_rng(0), 50).reshape(50, 3)
    assert (bits[:, 2] == (bits[:, 0] != bits[:, 1])).all()
    script = load("elman_letters")
    text = script.text(np.random.default_rng(0), 60)
    assert text.replace("guuu", "").replace("dii", "").replace("ba", "") == ""
    x, y = script.coded(text)
    assert (x[1:] == y[:-1]).all() and len(x) == len(text) - 1


def test_temporal_order_and_sums(load):
    x, y = load("pascanu_order").sequences(np.random.default_rng(0), 50, 200)
    assert (x.sum(axis=2) == 1).all()
    ordered = x[:, :, :2].sum(axis=2)  # A and B
    assert (ordered[5:10].sum(axis=0) == 1).all() and (ordered[20:25].sum(axis=0) == 1).all()
    assert (ordered.sum(axis=0) == 2).all()
    first, second = x[5:10, :, 1].sum(axis=0), x[20:25, :, 1].sum(axis=0)
    assert (y == 2 * first + second).all()
    x, y = load("le_adding").problem(np.random.default_rng(0), 12, 50)
    assert (x[:6, :, 1].sum(axis=0) == 1).all() and (x[6:, :, 1].sum(axis=0) == 1).all()
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(axis=0), y[:, 0], rtol=1e-6)


def test_the_regulariser_of_temporal_order(load):
    omega = load("pascanu_order").omega
    rng = np.random.default_rng(0)
    h, dh = np.tanh(rng.standard_normal((5, 2, 4))), rng.standard_normal((5, 2, 4))
    dh[3, 1] = 0  # nothing arrives there: no contribution
    w = rng.standard_normal((4, 4))
    ratios = [
        np.linalg.norm(w.T @ (dh[t, n] * (1 - h[t, n] ** 2))) / np.linalg.norm(dh[t, n])
        for t in range(1, 5) for n in range(2) if dh[t, n].any()
    ]  # fmt: skip
    value, gradient = omega(h, dh, w)
    assert value == pytest.approx(np.sum((np.array(ratios) - 1) ** 2) / 8)
    for i, j in ((0, 0), (1, 3), (2, 1)):
        step = np.zeros((4, 4))
        step[i, j] = 1e-6
        slope = (omega(h, dh, w + step)[0] - omega(h, dh, w - step)[0]) / 2e-6
        assert gradient[i, j] == pytest.approx(slope, rel=1e-5)
    assert omega(np.zeros((3, 1, 4)), dh[:3, :1], np.eye(4))[0] == pytest.approx(0)
