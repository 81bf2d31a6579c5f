"""Every setting of the project, typed: one frozen model per phase; unknown keys are errors.

A run is described by one resolved model (`PretrainConfig`, `FinetuneConfig`, ...), written beside its output. The
resolved model is merged from layers of YAML (`project`, `layers`); `plan` tells which runs and files figures are made
of.
"""
