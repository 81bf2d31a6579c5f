"""Schematics: the paper's figures without data.

In: nothing.
Out: results/<budget>/schematics/<schematic>.{pdf,png}.
"""


rule schematic:
    """Draw one of them."""
    output:
        pdf=paths.schematic("{budget}", "{shown}", "pdf"),
        png=paths.schematic("{budget}", "{shown}", "png"),
    log:
        "results/{budget}/schematics/{shown}.log",
    wildcard_constraints:
        shown=SCHEMATICS,
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        drawing=of_shown(Plan.schematic),
        font_size=ROOT.plot.font_size,
    shell:
        "python -m inril schematic --name {params.drawing} --font-size {params.font_size} "
        "--out {output.pdf:q} {output.png:q} &> {log:q}"
