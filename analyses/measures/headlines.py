"""The headline of each measure: one quantity with its interval, for every pair and task."""

from __future__ import annotations

from probe.jobs.stages.headline import Headline

_HEADS = ("previous", "next", "same", "induction", "reverse_induction", "sink", "entropy", "duplicate")
_DEPTH = "depth, from the first layer to the last"
_FEW = "share of all edges, strongest first (equal steps)"

HEADLINES: dict[str, Headline] = {
    "answers": Headline("share of questions answered right", by="role", bounds=(0, 1)),
    "front_loading": Headline(
        "ΔFLI: right of 0, attribution lies in earlier layers than in the AR model",
        {"part": "all", "measure": "Δ FLI"}, by="model", zero=0, terms=("FLI",),
    ),
    "attribution_profile": Headline(
        "share of attribution", {"part": "all"}, by="model", kind="line", x="depth", x_of=_DEPTH, zero=0,
    ),
    "did": Headline(
        "ΔFLI, diffusion minus AR: on local tasks, on global ones, and the difference of the two",
        {"measure": "Δ FLI"}, by="task", values=("all local", "all global", "global − local"), zero=0,
        terms=("DiD", "FLI"),
    ),
    "spread": Headline(
        "ΔPR/n: right of 0, a larger share of components does the work than in the AR model",
        {"part": "all", "level": "global", "figure": "Δ PR/n"}, by="model", zero=0, terms=("PR",),
    ),
    "overlap": Headline(
        "retention R of the AR model's strongest edges: 0 is chance, 1 two halves of the prompts",
        {"model": "{ar}", "measure": "retention", "subset": "all"}, by="other", kind="line", x="share", x_of=_FEW,
        ordinal=True, bounds=(0, 1.1), terms=("Retention",),
    ),
    "circuit_diff": Headline(
        "strongest edges of either model", by="status", kind="counts", values=("kept", "undecided", "lost", "gained"),
        terms=("Kept",),
    ),
    "circuit_graph": Headline("the strongest edges of the diffusion model", {"model": "{diffusion}"}, kind="graph"),
    "cross_faithfulness": Headline(
        "faithfulness in the diffusion model: of its own circuit, the AR model's, and random ones",
        {"role": "diffusion", "measure": "f"}, by="circuit", kind="line", x="share", x_of=_FEW, ordinal=True,
        values=("diffusion", "ar", "random, layer-matched to ar"), bounds=(-0.25, 1.25), zero=0,
        terms=("Faithfulness", "Transfer"),
    ),
    "robustness": Headline(
        "ΔFLI for other prompts, by the number of strongest edges counted", {"measure": "Δ FLI"}, by="K",
        kind="dots", zero=0, terms=("FLI",),
    ),
    "controls": Headline("ΔFLI", {"measure": "FLI"}, by="part", zero=0, terms=("FLI", "AR-CPT")),
    "two_by_two": Headline(
        "ΔFLI, and the parts of it due to the weights and to the attention mask", {"measure": "FLI"}, by="part",
        values=("weights", "mask", "total"), zero=0, terms=("2×2", "FLI"),
    ),
    "causal_profile": Headline(
        "share of the answer lost without a layer", {"window": "1"}, by="model", kind="line", x="depth", x_of=_DEPTH,
        zero=0,
    ),
    "causal_front_loading": Headline("Δ causal FLI", {"measure": "FLI"}, by="part", zero=0, terms=("Causal FLI",)),
    "targeted_knockouts": Headline(
        "share of the answer lost with the strongest early components, beyond equally many random ones",
        {"comparison": "early − random"}, by="model", zero=0,
    ),
    "knockout_curve": Headline(
        "what is left of the answer as components are knocked out, strongest first", {"what": "curve"}, by="model",
        kind="line", x="share", x_of="share of components knocked out", zero=0,
    ),
    "right_context": Headline(
        "ΔFLI, with the right context visible minus without", {"measure": "Δ FLI"}, by="reading",
        values=("one mask − prefix",), zero=0, terms=("Right context", "FLI"),
    ),
    "output_diffuseness": Headline(
        "Δ entropy of components' own outputs, in nats", {"measure": "Δ entropy (nats)"}, by="part", zero=0,
    ),
    "jacobian_lens": Headline(
        "share of what arrives at the answer's slot that comes from the right of it",
        {"measure": "arrives from the right"}, by="role", kind="line", x="depth", x_of=_DEPTH, zero=0,
        terms=("Jacobian lens",),
    ),
    "steering": Headline(
        "rise of the log p (nats) of the answer steered towards, beyond random directions of the same length",
        {"measure": "beyond random directions"}, by="role", kind="line", x="dose", x_of="dose", zero=0,
        values=("ar", "diffusion"),
    ),
    "commitment": Headline(
        "share of answers that steering still changes, by its first step, beyond random directions",
        {"measure": "beyond random directions"}, by="role", kind="line", x="from_step", x_of="first step",
        zero=0, values=("ar", "diffusion"),
    ),
    "clock": Headline(
        "how well each layer predicts the share that is still hidden (R², on held-out examples)",
        {"measure": "R² of the share hidden"}, by="role", kind="line", x="layer", x_of="layer", zero=0,
        values=("diffusion", "ar, native mask"),
    ),
    "lookahead_probes": Headline(
        "accuracy of a probe for the token written one place later, above that of place and mask count alone",
        {"measure": "gain over place and count", "ahead": "1"}, by="role", kind="line", x="layer", x_of="layer",
        zero=0, values=("ar", "diffusion"),
    ),
    "patchscope": Headline(
        "how often a state makes another run write the token after the next, above that run's own",
        {"measure": "gain over the host alone", "ahead": "1"}, by="role", kind="line", x="layer", x_of="layer",
        zero=0, values=("ar", "diffusion"),
    ),
    "features": Headline(
        "mean ν of a crosscoder's features (1: as strong in both models): of the twins, and of a second seed",
        {"class": "mean ν"}, by="pair", values=("ar and diffusion", "diffusion and masked-seed2"), bounds=(0, 1),
        terms=("Crosscoder", "Latent scaling"),
    ),
    "contributions": Headline(
        "size of the MLP's output relative to the stream, ‖m‖/‖h+a‖", {"measure": "‖m‖/‖h+a‖"}, by="role",
        kind="line", x="depth", x_of=_DEPTH, zero=0,
    ),
    "direct_attribution": Headline(
        "change of what each component adds to the margin, in logits", {"role": "diffusion − ar"}, by="kind",
        kind="dots", values=("head", "mlp"), zero=0, terms=("Direct attribution",),
    ),
    "heads": Headline(
        "change of each head's attention scores (shares of its attention), diffusion minus AR",
        {"role": "diffusion − ar"}, by="measure", kind="dots", values=_HEADS, zero=0, terms=("Sink",),
    ),
    "cka": Headline(
        "similarity of each layer to the same layer of the AR model", {"beside": "ar", "tokens": "clean"}, by="role",
        kind="line", x="layer", x_of="layer", same=("layer", "beside_layer"), bounds=(0, 1), terms=("CKA",),
    ),
    "revision": Headline(
        "share of an answer's places that were written more than once", {"measure": "slots revised"}, by="role",
        bounds=(0, 1),
    ),
    "weight_drift": Headline(
        "how far each module's weights moved, ‖ΔW‖/‖W‖; a dot a layer", {"role": "diffusion"}, by="module",
        kind="dots", zero=0, terms=("Drift",),
    ),
}  # fmt: skip
