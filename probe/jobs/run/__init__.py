"""From a spec to finished units on disk.

A unit is one stage at one place of the grid, such as `front_loading` of `zoo:masked` on `ioi`, prefix reading, seed 0.
It passes through these files in this order:

    model_identity, code_hash, value_identity
                                 hash the unit's inputs: weights, tokenizer, settings, code
    unit                         its id, and the hash of everything that decides its numbers
    plan                         all units of a spec, each after those that it needs
    cost                         estimated time, memory and disk (for --dry-run and for a cluster)
    calibration                  the same, measured on a few prompts (for --dry-run --measure)
    lock                         one run at a time in a folder
    runner                       finds what is on disk, distributes the rest, receives outcomes
    executors, ray_cluster       where units are computed: this process, local processes, a Ray cluster
    worker                       one local process
    execute                      computes one unit; an exception becomes part of the outcome
    stage_inputs                 a stage's inputs: models, prompts and products
    products                     a cache of recently opened products, bounded in bytes
    unit_store                   writes the unit's folder, completely or not at all
    figures                      draws the unit's table
    manifest                     records the run's provenance
    verify                       later: are the files unchanged, and do the same numbers come out again?
"""
