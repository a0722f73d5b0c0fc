# ruff: noqa: B018, D100
# Source of automobile.ipynb, which scripts/notebooks.py builds and executes.

# %% [markdown]
# # Can the segments of the car maker be told from a few columns?
#
# A car maker sorted 8,068 customers into segments A to D by hand and wants to do the same in a new
# market. We ask how well a model does it, which segments it confuses and what it looks at, try
# other models, and hand over a report.
#
# The words in the lists are those of `segexp run` in a terminal.

# %%
import pandas as pd

import segexp

# %% tags=["parameters"]
words = ["dataset=automobile"]
models = "logistic_regression,naive_bayes,lightgbm"

# %% [markdown]
# ## A first run
#
# A simple model first. Every figure is of customers that the model had not seen, beside a baseline
# that names the largest segment for everybody.

# %%
run = segexp.run([*words, "model=logistic_regression"])
run

# %% [markdown]
# ## What is odd about the table
#
# What was found in the data and done about it is kept with the run.

# %%
[finding["message"] for finding in run.manifest["dataset"]["findings"]]

# %%
run.figures["missing_values"]

# %% [markdown]
# ## Which segments are confused?

# %%
run.figures["confusion"]

# %% [markdown]
# The figures are matplotlib's. The numbers behind them are DataFrames: here, how often the model is
# right where it is sure and where it is not.

# %%
predictions = run.predictions
probabilities = predictions.filter(like="probability[").max(axis=1)
right = predictions["true"] == predictions["predicted"]
sure = pd.cut(probabilities, [0, 0.4, 0.5, 0.6, 0.8, 1]).rename("probability")
right.groupby(sure, observed=True).agg(customers="size", right="mean").round(3)

# %% [markdown]
# ## What does it look at?
#
# How much accuracy is lost on held-out customers when a column is shuffled.

# %%
run.figures["importance"]

# %% [markdown]
# ## Other models
#
# A sweep runs several on the same folds; the run above is found again and not repeated. The
# comparison says which differences are more than luck.

# %%
sweep = segexp.sweep([*words, f"model={models}"])
comparison = sweep.compare()
comparison

# %% [markdown]
# The same as a DataFrame:

# %%
ranking = comparison.tables[0]
ranking[["rank", "run", "mean", "low", "high", "difference", "p_holm"]].round(4)

# %% [markdown]
# ## Customers of the new market

# %%
best = segexp.open(ranking["path"].iloc[0])
market = pd.DataFrame(
    {
        "Gender": ["Female", "Male"],
        "Ever_Married": ["No", "Yes"],
        "Age": [24, 61],
        "Graduated": ["No", "Yes"],
        "Profession": ["Healthcare", "Lawyer"],
        "Work_Experience": [3, None],
        "Spending_Score": ["Low", "High"],
        "Family_Size": [4, 2],
        "Var_1": ["Cat_6", "Cat_6"],
    }
)
best.predict(market).filter(regex="Age|Profession|segment|probability|confidence").round(3)

# %% [markdown]
# ## A report
#
# One HTML file on the best run, for managers first and for statisticians last.

# %%
page = segexp.report(best)
page.name
