"""From a spec to finished units on disk.

A unit is one stage at one place of the grid, such as `front_loading` of `zoo:masked` on `ioi`, prefix reading, seed 0.
It passes through these files in this order:

    model_identity, code_hash, value_identity
                                 hash what the unit will read: weights, tokenizer, settings, code
    unit                         its id, and the hash of everything that decides its numbers
    plan                         all units of a spec, sorted so that each comes after what it needs
    cost                         about how long, how much memory and disk (for --dry-run and for a cluster)
    lock                         one run at a time in a folder
    runner                       looks at what is on disk, hands out the rest, receives outcomes
    executors, ray_cluster       where units are computed: this process, local processes, a Ray cluster
    worker                       one local process
    execute                      computes one unit; an exception becomes part of the outcome
    stage_inputs                 the models, prompts and products that a stage is given
    products                     those opened last, as many as fit in some bytes
    unit_store                   writes the unit's folder, whole or not at all
    figures                      draws the unit's table
    manifest                     writes down what the run was
    verify                       later: are the files still those, and do the same numbers come out again?
"""
