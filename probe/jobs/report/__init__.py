"""From a run folder to a report.

contents         everything in a report, as values
hypotheses       the verdict: hypotheses and their answers, and the sentences that follow from them
multiples        one figure per measure: a small panel for every pair and task
prompts          one prompt of each task, with the models' answers
models           one name and one colour for each model
words            the report's glossary
glyphs           the panels, as SVG
significance     which estimates exclude their null
provenance       how the run was made
formatting       how numbers, times and names are written
render           report.html, report.md, report.parquet
inline_figures   Plotly and the figures, packed into the page
markdown         escaping for Markdown
compare_runs     what changed between two runs
"""
