"""One room for each experiment on cells: problem, runs, report, figures."""
