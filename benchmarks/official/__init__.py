"""The benchmarks whose owners publish rules: loaders, rules, figures."""
