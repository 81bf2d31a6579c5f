"""What readers look for at the top of results/: copies of what the default budget shows.

In: a file of results/<budget>/{figures,tables,films,landscapes,schematics}/.
Out: results/<name>.<suffix>.
"""


localrules:
    promote,


rule promote:
    """Copy a file to where readers look for it."""
    input:
        resolved(lambda w: PLAN.promoted(w.shown, w.suffix)),
    output:
        "results/{shown}.{suffix}",
    log:
        f"results/{DEFAULT_BUDGET}/promoted/{{shown}}.{{suffix}}.log",
    wildcard_constraints:
        shown="|".join((FIGURES, COMPARISONS, FILMS, LANDSCAPES, SCHEMATICS)),
        suffix="[a-z]+",
    conda:
        "../environment.yml"
    shell:
        "cp {input:q} {output:q} &> {log:q}"
