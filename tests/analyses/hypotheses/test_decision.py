"""Controls, robustness and the verdict: parts that add up, and answers that follow from intervals alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analyses.front_loading import index_of, right_context
from analyses.hypotheses.controls import CELLS, decomposition, two_by_two
from analyses.hypotheses.decision import (
    CONTRADICTED,
    NOT_MEASURED,
    OPPOSITE,
    SHORT,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    answer,
    verdict,
)
from analyses.hypotheses.evidence import gather
from analyses.hypotheses.preregistered import HYPOTHESES
from analyses.hypotheses.robustness import Cell, grid, over_budgets
from analyses.result import Result
from probe.errors import ProbeError
from tests.analyses.components.made_scores import HEADS, LAYERS, scores_with

MEANS = np.random.default_rng(0).exponential(size=(LAYERS, HEADS))
EARLIER = MEANS * np.exp(-0.5 * np.arange(LAYERS))[:, None]


def model(means: np.ndarray, name: str, seed: int, scope: str = "global"):
    return replace(scores_with(means, noise=0.3, seed=seed, model=name), scope=scope, task=f"a {scope} task")


AR, DIFFUSION = model(MEANS, "ar", 1), model(EARLIER, "diffusion", 2)


def part(result, name: str, measure: str = "FLI"):
    rows = result.table[(result.table["part"] == name) & (result.table["measure"] == measure)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_two_by_two_adds_up():
    cells = dict(zip(CELLS, (AR, model(MEANS, "ar", 3), model(EARLIER, "d", 4), DIFFUSION), strict=True))
    result = two_by_two(cells)
    for measure in ("FLI", "early mass", "PR/n"):
        weights, mask, total = (part(result, name, measure)["estimate"] for name in ("weights", "mask", "total"))
        assert weights + mask == pytest.approx(total)
    assert part(result, "weights")["low"] > 0
    assert part(result, "mask")["low"] < 0 < part(result, "mask")["high"]
    by_mask = dict(zip(CELLS, (AR, model(EARLIER, "ar", 3), model(MEANS, "d", 4), DIFFUSION), strict=True))
    assert part(two_by_two(by_mask), "mask")["low"] > 0
    assert part(two_by_two(by_mask), "weights")["low"] < 0


def test_a_two_by_two_needs_all_four():
    with pytest.raises(ProbeError, match="both twins under both masks"):
        two_by_two({CELLS[0]: AR})


def test_the_decomposition_adds_up_and_knows_the_seed():
    result = decomposition(AR, DIFFUSION, {"ar-cpt": model(EARLIER, "cpt", 5), "ar-seed2": model(MEANS, "ar2", 6)})
    total, more, beyond, seed = (
        part(result, name) for name in ("total", "more training", "beyond training", "seed (ar-seed2)")
    )
    assert more["estimate"] + beyond["estimate"] == pytest.approx(total["estimate"])
    assert more["low"] > 0
    assert beyond["low"] < 0 < beyond["high"]
    assert abs(seed["estimate"]) < abs(total["estimate"]) / 3


def test_robust_everywhere_and_at_one_setting_only():
    everywhere = grid(over_budgets(AR, DIFFUSION, halves=2), {"FLI": index_of})
    assert everywhere.about["sentences"] == ["a global task, Δ FLI: supported at all 3 settings."]
    cells = [Cell(AR, DIFFUSION, k=50), Cell(AR, model(MEANS, "diffusion", 7), k=100)]
    once = grid(cells, {"FLI": index_of})
    assert once.about["sentences"] == [
        "a global task, Δ FLI: supported at 1 of 2 settings, else undecided (only at K = 50)."
    ]
    both = grid([Cell(AR, DIFFUSION), Cell(DIFFUSION, AR, steps=4)], {"FLI": index_of})
    assert "no one answer" in both.about["sentences"][0]
    assert "no one answer" in both.caption
    assert len(once.figure().data) == 1


@pytest.mark.parametrize(
    ("low", "high", "sign", "expected"),
    [(0.1, 0.3, 1, SUPPORTED), (-0.3, -0.1, 1, CONTRADICTED), (-0.1, 0.1, 1, UNDECIDED), (-0.3, -0.1, -1, SUPPORTED),
     (np.nan, np.nan, 1, UNDECIDED)],
)  # fmt: skip
def test_answers(low, high, sign, expected):
    assert answer(low, high, sign) == expected


def row(result, name: str):
    return result.table.set_index("hypothesis").loc[name]


def test_a_control_explains_what_it_shows_too():
    found = Evidence(0.2, 0.1, 0.3, 50)
    none, half, all_of_it = Evidence(0.0, -0.1, 0.1, 50), Evidence(0.1, 0.05, 0.15, 50), Evidence(0.3, 0.2, 0.4, 50)
    cases = {
        "more training": {"more training": half, "beyond training": none},
        "": {"more training": half, "beyond training": half, "seed (ar-seed2)": none},
        "seed": {"seed (ar-seed2)": all_of_it},
        "mask": {"mask": half, "weights": none},
        "weights": {"mask": none, "weights": half},
        "AR itself": {"AR itself": half},
    }
    for expected, controls in cases.items():
        judged = verdict({"did": replace(found, controls=controls)})
        assert row(judged, "did")["answer"] == SUPPORTED
        assert row(judged, "did")["explained_by"] == expected


def test_thresholds_were_written_down():
    judged = verdict(
        {"local retention": Evidence(0.4, 0.3, 0.45, 50), "global retention": Evidence(0.4, 0.3, 0.45, 50)}
    )
    assert row(judged, "local retention")["answer"] == CONTRADICTED
    assert row(judged, "global retention")["answer"] == SUPPORTED
    assert row(judged, "did")["answer"] == NOT_MEASURED
    assert len(judged.table) == len(HYPOTHESES)
    drawn = {trace.name: trace for trace in judged.figure().data}
    assert drawn[SUPPORTED].x[0] > 0 > drawn[CONTRADICTED].x[0]  # right of the middle is as claimed
    assert (np.asarray(drawn[NOT_MEASURED].x) == 0).all()


def test_an_effect_too_small_for_its_sentence_contradicts_it_and_explains_nothing():
    small, back = Evidence(0.02, 0.01, 0.03, 50), Evidence(-0.2, -0.3, -0.1, 50)
    training = {"more training": back, "beyond training": Evidence(0.0, -0.1, 0.1, 50)}
    for found, how, words in (
        (replace(small, controls=training), SHORT, "computation does not move earlier on global tasks"),
        (back, OPPOSITE, "computation moves later on global tasks"),
        (replace(back, controls=training), OPPOSITE,
         "computation moves later on global tasks (as with more AR training)"),
    ):  # fmt: skip
        of = row(verdict({"global front-loading": found}), "global front-loading")
        assert (of["answer"], of["how"], of["says"]) == (CONTRADICTED, how, words)
    undecided = row(verdict({"global front-loading": Evidence(0.06, 0.0, 0.12, 50)}), "global front-loading")
    assert (undecided["answer"], undecided["says"]) == (UNDECIDED, "")


def test_every_hypothesis_names_its_smallest_effect_and_why():
    for one in HYPOTHESES:
        assert one.sign * one.threshold > 0 or one.likeness
        assert one.reason
        assert one.asks.endswith("?")
        assert one.yes != one.no
        assert bool(one.opposite) != one.likeness, one.name  # a likeness has no other direction


def overlap(retention: float) -> Result:
    columns = {"model": "ar", "other": "diffusion", "task": "t", "scope": "global", "measure": "retention", "n": 20}
    found = {"estimate": retention, "low": retention - 0.05, "high": retention + 0.05, "subset": "all"}
    return Result("circuit_overlap", pd.DataFrame([{**columns, **found}]), "", "", "forest")


def crossed(transfer: float) -> Result:
    columns = {"role": "diffusion", "circuit": "ar", "task": "t", "measure": "transfer", "n": 20}
    found = {"estimate": transfer, "low": transfer - 0.04, "high": transfer + 0.04}
    return Result("cross_faithfulness", pd.DataFrame([{**columns, **found}]), "", "", "forest")


@pytest.mark.parametrize(
    ("retention", "transfer", "expected"),
    [(0.35, 0.14, CONTRADICTED), (0.35, 0.8, SUPPORTED), (0.8, 0.9, NOT_MEASURED), (0.8, 0.1, NOT_MEASURED)],
)
def test_a_seventh_of_the_work_is_not_the_same_function_nor_is_most_of_the_edges_few(retention, transfer, expected):
    found = gather([overlap(retention), crossed(transfer)], NAMES)
    judged = row(verdict(found.evidence, missing=found.missing), "same function")
    assert judged["answer"] == expected
    assert ("share few edges" in judged["note"]) == (expected == NOT_MEASURED)


def answered(**right: tuple[float, float]) -> Result:
    """A table of accuracies: of each task, the low end of AR's and of the twin's."""
    rows = [
        {"task": task, "role": role, "low": low, "estimate": low + 0.1, "high": low + 0.2, "null": 0.1, "n": 50}
        for task, ends in right.items()
        for role, low in zip(("ar", "diffusion"), ends, strict=True)
    ]
    return Result("answers", pd.DataFrame(rows), "", "", "forest")


def test_a_task_that_a_twin_only_guesses_is_no_evidence():
    table = pd.DataFrame({"task": ["known", "guessed"], "estimate": [0.3, -0.3], "n": 20, "what": "Δ area − random"})
    table = table.assign(low=table["estimate"] - 0.1, high=table["estimate"] + 0.1, model="diffusion − ar")
    curves = Result("knockout_curves", table, "", "", "forest")
    found = gather([curves, answered(known=(0.5, 0.5), guessed=(0.5, 0.05))], NAMES)
    assert found.evidence["knock-out area"].estimate == pytest.approx(0.3)
    nothing = gather([curves, answered(known=(0.05, 0.5), guessed=(0.5, 0.05))], NAMES)
    assert nothing.evidence == {}
    assert nothing.missing["knock-out area"] == "answered no better than by guessing: guessed, known"


def test_unknown_hypotheses_are_refused():
    with pytest.raises(ProbeError, match="Did you mean 'did'"):
        verdict({"didd": Evidence(0, 0, 0, 2)})


def test_a_second_twin_has_to_show_it_again():
    found, again, not_again = (Evidence(0.2, *ends, 50) for ends in ((0.1, 0.3), (0.05, 0.35), (-0.1, 0.5)))
    for other, expected in ((again, ""), (not_again, "seed")):
        judged = verdict({"did": replace(found, controls={"again (masked-seed2)": other})})
        assert row(judged, "did")["explained_by"] == expected


def test_what_more_training_loses_too_is_not_diffusions_loss():
    lost, kept = Evidence(0.4, 0.3, 0.45, 50), Evidence(0.9, 0.8, 1.0, 50)
    for control, expected in ((lost, "more training"), (kept, "")):
        judged = verdict({"global retention": replace(lost, controls={"more training": control})})
        assert row(judged, "global retention")["explained_by"] == expected


def test_an_answer_has_to_stand_among_all_that_were_asked():
    """One interval in fifteen that just leaves its threshold out is what chance would do."""
    barely, nothing = Evidence(0.25, 0.051, 0.449, 50), Evidence(0.05, -0.15, 0.25, 50)
    differences = [one.name for one in HYPOTHESES if one.threshold == 0.05]
    assert row(verdict({"did": barely}), "did")["answer"] == SUPPORTED
    among = verdict(dict.fromkeys(differences, nothing) | {"did": barely})
    assert row(among, "did")["answer"] == UNDECIDED
    clearly = verdict(dict.fromkeys(differences, nothing) | {"did": Evidence(0.2, 0.1, 0.3, 50)})
    assert row(clearly, "did")["answer"] == SUPPORTED


NAMES = {"ar": "ar", "diffusion": "diffusion", "ar-cpt": "cpt", "masked-seed2": "again"}


def test_evidence_is_gathered_from_tables():
    local = model(MEANS, "ar", 8, "local"), model(MEANS, "diffusion", 9, "local")
    others = [model(EARLIER, "cpt", 5), model(EARLIER, "again", 6)]
    beside = [model(MEANS, "cpt", 10, "local"), model(MEANS, "again", 11, "local")]
    roles = ("ar-cpt", "masked-seed2")
    results = [
        decomposition(AR, DIFFUSION, dict(zip(roles, others, strict=True))),
        decomposition(*local, dict(zip(roles, beside, strict=True))),
        grid([Cell(AR, DIFFUSION)]),
        grid([Cell(*local)]),
    ]
    found = gather(results, NAMES)
    judged = verdict(found.evidence, missing=found.missing)
    shift = {
        scope: part(result, "total")["estimate"] for scope, result in zip(("global", "local"), results, strict=False)
    }
    assert row(judged, "did")["estimate"] == pytest.approx(shift["global"] - shift["local"])
    assert row(judged, "did")["answer"] == SUPPORTED
    assert row(judged, "did")["explained_by"] == "more training"
    assert row(judged, "did")["tasks"] == 2
    assert set(found.evidence["did"].controls) == {
        "more training", "beyond training", "seed (masked-seed2)", "again (masked-seed2)"
    }  # fmt: skip
    assert row(judged, "global front-loading")["estimate"] == pytest.approx(shift["global"])
    assert row(judged, "global front-loading")["settings"] == "1 supported"
    assert row(judged, "did")["settings"] == "1 supported"
    assert row(judged, "spread")["tasks"] == 2
    assert row(judged, "local retention")["answer"] == NOT_MEASURED
    assert row(judged, "local retention")["note"] == "needs overlap"


def test_a_change_is_found_whichever_way_round_a_table_has_it():
    columns = {"what": "Δ area − random", "task": "t", "n": 20}
    table = pd.DataFrame([
        {"model": "diffusion − ar", "estimate": 0.3, "low": 0.2, "high": 0.4, **columns},
        {"model": "cpt − ar", "estimate": 0.1, "low": 0.0, "high": 0.2, **columns},
        {"model": "cpt − diffusion", "estimate": -0.2, "low": -0.35, "high": -0.1, **columns},
    ])  # fmt: skip
    area = gather([Result("knockout_curves", table, "", "", "forest")], NAMES).evidence["knock-out area"]
    assert area.estimate == pytest.approx(0.3)
    beyond = area.controls["beyond training"]
    assert beyond.estimate == pytest.approx(0.2)
    assert beyond.low < 0.15 < beyond.high


def test_a_model_that_cannot_see_the_right_context_is_not_asked_for_it():
    blind = right_context(AR, DIFFUSION, attention="causal")
    assert len(blind.figure().data) == 1  # its FLI under prefix is all that there is
    found = gather([blind], NAMES)
    assert found.missing["right context"] == "it sees nothing to its right"
    seeing = gather([right_context(AR, DIFFUSION)], NAMES).evidence["right context"]
    assert seeing.low > 0


def test_where_nothing_stands_right_of_the_answer_there_is_no_right_context_to_ask_about():
    same = right_context(DIFFUSION, DIFFUSION)
    assert list(same.table["measure"]) == ["FLI"]
    assert "Does not apply here" in same.caption
