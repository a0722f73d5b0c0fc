"""Customer value on CDNOW: the published figures of the models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segexp.value.models import BetaGeo, GammaGamma, ParetoNBD

WEEK = 7.0
HOLDOUT_DAYS = 39 * WEEK  # 1997-10-01 to 1998-06-30


@pytest.fixture(scope="module")
def cdnow(data_dir: Path) -> pd.DataFrame:
    """The tenth of CDNOW's customers in the papers: their first 39 weeks, and what followed."""
    lines = pd.read_csv(
        data_dir / "cdnow" / "CDNOW_sample.txt",
        sep=r"\s+",
        names=["master", "id", "date", "discs", "amount"],
        dtype={"date": str},
    )
    lines["date"] = pd.to_datetime(lines["date"], format="%Y%m%d")
    days = lines.groupby(["id", "date"], as_index=False)["amount"].sum()
    end = pd.Timestamp("1997-09-30")
    seen, later = days[days["date"] <= end], days[days["date"] > end]
    by_id = seen.groupby("id")["date"].agg(["min", "max", "size"])
    again = seen[seen["date"] > seen["id"].map(by_id["min"])]
    return pd.DataFrame(
        {
            "repeats": by_id["size"] - 1.0,
            "span": (by_id["max"] - by_id["min"]).dt.days.astype(float),
            "tenure": (end - by_id["min"]).dt.days.astype(float),
            "repeat_spend": again.groupby("id")["amount"].mean().reindex(by_id.index),
            "later": later.groupby("id").size().reindex(by_id.index).fillna(0.0),
        }
    )


@pytest.fixture(scope="module")
def bg_nbd(cdnow: pd.DataFrame) -> BetaGeo:
    return BetaGeo().fit(cdnow)


@pytest.fixture(scope="module")
def pareto_nbd(cdnow: pd.DataFrame) -> ParetoNBD:
    return ParetoNBD().fit(cdnow)


@pytest.fixture(scope="module")
def gamma_gamma(cdnow: pd.DataFrame) -> GammaGamma:
    return GammaGamma().fit(cdnow)


# A customer of the BG/NBD paper's spreadsheet: 2 repeats, the last in week 30.43 of 38.86.
CUSTOMER = pd.DataFrame({"repeats": [2.0], "span": [30.43 * WEEK], "tenure": [38.86 * WEEK]})


@pytest.mark.published
def test_the_sample_is_that_of_the_papers(cdnow: pd.DataFrame) -> None:
    """Fader, Hardie, Lee (2005), Marketing Science 24(2): 2,357 customers."""
    assert len(cdnow) == 2357
    assert (cdnow["repeats"] == 0).sum() == 1411
    assert cdnow["repeats"].sum() == 2457
    assert cdnow["later"].sum() == 1882


@pytest.mark.published
def test_bg_nbd_has_the_parameters_of_the_paper(bg_nbd: BetaGeo) -> None:
    """Fader, Hardie, Lee (2005), table 2: .243, 4.414, .793, 2.426; log likelihood -9582.4."""
    assert bg_nbd.parameters_ == pytest.approx(
        {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, abs=5e-4
    )
    assert bg_nbd.log_likelihood_ == pytest.approx(-9582.43, abs=0.005)
    assert bg_nbd.converged_ and bg_nbd.message_ == ""


@pytest.mark.published
def test_bg_nbd_expects_what_the_spreadsheet_expects(bg_nbd: BetaGeo) -> None:
    """Hardie, Implementing the BG/NBD model in Excel: E[Y(39) | 2, 30.43, 38.86] = 1.226."""
    assert bg_nbd.expected_purchases(CUSTOMER, HOLDOUT_DAYS)[0] == pytest.approx(1.2259, abs=5e-5)
    assert bg_nbd.probability_alive(CUSTOMER)[0] == pytest.approx(0.7266, abs=5e-5)


@pytest.mark.published
def test_bg_nbd_expects_12_percent_too_few_in_the_holdout(
    bg_nbd: BetaGeo, cdnow: pd.DataFrame
) -> None:
    """The expected total of the 39 weeks after the calibration period, beside 1,882 purchases."""
    total = bg_nbd.expected_purchases(cdnow, HOLDOUT_DAYS).sum()
    assert total == pytest.approx(1653.4, abs=0.05)


@pytest.mark.published
def test_bg_nbd_expects_of_new_customers_what_lifetimes_quotes(bg_nbd: BetaGeo) -> None:
    """E[X(t)] of Hardie's spreadsheet, as quoted by the tests of lifetimes."""
    weeks = np.array([0.1429, 1.0, 3.0, 31.8571, 32.0, 78.0])
    expected = [0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576]
    np.testing.assert_allclose(
        bg_nbd.expected_of_new_customer(weeks * WEEK), expected, rtol=0, atol=5e-4
    )


@pytest.mark.published
def test_pareto_nbd_has_the_parameters_of_the_note(pareto_nbd: ParetoNBD) -> None:
    """Fader, Hardie (2005), note on the Pareto/NBD: .553, 10.578, .606, 11.669; -9595.0."""
    assert pareto_nbd.parameters_ == pytest.approx(
        {"r": 0.5533, "alpha": 10.578, "s": 0.6062, "beta": 11.669}, abs=1.5e-3
    )
    assert pareto_nbd.log_likelihood_ == pytest.approx(-9594.97, abs=0.01)
    assert pareto_nbd.converged_


@pytest.mark.published
def test_pareto_nbd_expects_of_new_customers_what_btyd_expects(pareto_nbd: ParetoNBD) -> None:
    """E[X(t)] of R's BTYD, as quoted by the tests of lifetimes.

    BTYD fits other parameters to its own summary of CDNOW: the curves agree to .003.
    """
    expected = [0, 0.0508, 0.0992, 0.1454, 0.1898, 0.2325, 0.2736, 0.3134, 0.3518, 0.3891]
    found = pareto_nbd.expected_of_new_customer(np.arange(10) * WEEK)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-3)


@pytest.mark.published
def test_gamma_gamma_has_the_parameters_of_the_note(gamma_gamma: GammaGamma) -> None:
    """Fader, Hardie (2013), note 025: p 6.25, q 3.74, v 15.44 of 946 repeat customers."""
    assert gamma_gamma.n_customers_ == 946
    assert gamma_gamma.parameters_ == pytest.approx({"p": 6.25, "q": 3.74, "v": 15.44}, abs=0.01)
    assert gamma_gamma.mean_spend_ == pytest.approx(35.17, abs=0.005)
    assert gamma_gamma.correlation_ == pytest.approx(0.1139, abs=5e-5)


@pytest.mark.published
def test_gamma_gamma_expects_what_the_note_expects(
    gamma_gamma: GammaGamma, cdnow: pd.DataFrame
) -> None:
    """The first ten customers of Hardie's spreadsheet of note 025, as quoted by lifetimes."""
    expected = [24.66, 18.91, 35.17, 35.17, 35.17, 71.46, 18.91, 35.17, 27.28, 35.17]
    found = gamma_gamma.expected_spend(cdnow.iloc[:10])
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)


@pytest.mark.published
def test_bg_nbd_of_pareto_nbd_loses_as_in_the_paper(
    bg_nbd: BetaGeo, pareto_nbd: ParetoNBD, cdnow: pd.DataFrame
) -> None:
    """Fader, Hardie, Lee (2005), table 2: BG/NBD fits CDNOW better, -9582.4 against -9595.0."""
    assert bg_nbd.log_likelihood(cdnow).sum() > pareto_nbd.log_likelihood(cdnow).sum() + 12
