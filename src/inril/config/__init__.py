"""Every setting of the project, typed: one frozen model per phase; unknown keys are errors.

A run is described by one resolved model (`PretrainConfig`, `FinetuneConfig`, ...), written beside its output. The
resolved model is merged from layers of YAML (see `inril.project` and `inril.settings`); these modules know nothing of
files.
"""
