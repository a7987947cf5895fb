"""From a run folder to something to read.

contents         everything that a report says, as values
hypotheses       the verdict: hypotheses and their answers
significance     which estimates leave their null out
provenance       what made the run
formatting       how numbers, times and names are written
render           report.html, report.md, report.parquet
inline_figures   Plotly and the figures, packed into the page
markdown         escaping for Markdown
compare_runs     what changed between two runs
"""
