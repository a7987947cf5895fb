"""From a run folder to something to read.

contents         everything that a report says, as values
hypotheses       the verdict: hypotheses and their answers, and the sentences that follow from them
multiples        one figure a measure: a small panel for every pair and task
prompts          one prompt of each task, with the models' answers
models           one name and one colour for each model
words            what the report's own words mean
glyphs           the panels, as SVG
significance     which estimates leave their null out
provenance       what made the run
formatting       how numbers, times and names are written
render           report.html, report.md, report.parquet
inline_figures   Plotly and the figures, packed into the page
markdown         escaping for Markdown
compare_runs     what changed between two runs
"""
