"""Who tells how good an architecture is: tables, training, inherited weights, predictors."""
