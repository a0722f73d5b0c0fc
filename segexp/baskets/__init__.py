"""Association rules between the items of baskets: mined, tested, and judged on other baskets."""
