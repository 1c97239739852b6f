"""Statistics of whole distributions: distances, means, regression and change, each with a certified error."""
