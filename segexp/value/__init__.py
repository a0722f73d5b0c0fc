"""What customers will buy: buy-till-you-die models, lifetime value, and their judgement."""
