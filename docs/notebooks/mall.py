# ruff: noqa: B018, D100
# Source of mall.ipynb, which scripts/notebooks.py builds and executes.

# %% [markdown]
# # Which kinds of customers does the mall have?
#
# 200 customers of a shopping mall: age, gender, yearly income and a spending score that the mall
# gave them. Nobody knows their segments. We let a clusterer find some, look at whether they are
# worth anything, compare it with another one, and write a report for a colleague.
#
# Everything here can be typed in a terminal as well: the words in the lists are those of
# `segexp run`.

# %%
import pandas as pd

import segexp

# %% tags=["parameters"]
words = ["dataset=mall"]

# %% [markdown]
# ## A first run
#
# `segexp.run` reads the table, fits the pipeline on the training customers of each fold, judges it
# on the others, and leaves a run directory. Said again, the same words find that run in place of
# computing it once more.

# %%
run = segexp.run([*words, "model=kmeans"])
run

# %% [markdown]
# The first table is about customers that were held out; the second one describes all customers
# and is in-sample. *jaccard* says how much of a segment comes back when the customers are drawn
# again: below 0.6 do not rely on it.

# %% [markdown]
# ## How many segments?
#
# The criteria rarely agree. A curve without a clear peak says that the customers form no separate
# groups, and that the number is a choice.

# %%
run.figures["silhouette_by_k"]

# %%
run.figures["stability"]

# %% [markdown]
# ## What are they like?
#
# Means by segment, as a DataFrame. An index of 100 is the mean of all customers.

# %%
profile = run.segments.set_index("segment")
profile.filter(regex=r"^(n|mean|index)(\[|$)").round(1)

# %%
run.figures["silhouettes"]

# %% [markdown]
# ## Would another clusterer do better?
#
# Runs on the same folds are compared fold by fold. *tied* means that the difference to the best may
# be luck.

# %%
other = segexp.run([*words, "model=gaussian_mixture"])
segexp.compare(run, other)

# %% [markdown]
# ## Customers who come tomorrow
#
# `predict` takes a table with the same columns. `unlike_anybody` marks customers who are far from
# everyone the model has learned from, such as the last of these.

# %%
tomorrow = pd.DataFrame(
    {
        "Gender": ["Female", "Male", "Female"],
        "Age": [24, 58, 99],
        "Annual Income (k$)": [25, 54, 400],
        "Spending Score (1-100)": [80, 45, 1],
    }
)
found = run.predict(tomorrow)
found

# %%
found.attrs["notes"]

# %% [markdown]
# ## A report
#
# One HTML file that needs nothing else, to be sent to somebody.

# %%
page = segexp.report(run)
page.name
