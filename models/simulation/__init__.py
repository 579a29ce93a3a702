"""Made-up users who react to slates; docs/simulator.md is the specification."""
