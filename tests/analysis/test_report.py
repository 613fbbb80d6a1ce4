"""The report without a browser: its structure, that all text is escaped, nothing external, the same bytes."""

from __future__ import annotations

import base64
import importlib
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from adapt.data.leaks import overlap
from analysis import cells, report
from analysis.report import costs, drawings, html, leaks, pages, scores, verdicts

main = importlib.import_module("analysis.report.__main__").main
VOID = {"meta", "img", "input"}


class Page(HTMLParser):
    """The elements of a page with their attributes, and whether every one is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open += [tag] * (tag not in VOID)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(table):
    return report.page(table, "synthetic")  # the one that draws: whether each figure bears gaps is test_figures'


@pytest.fixture
def few(table):
    """Two chains by two adversaries, three seeds, and a baseline: a quick page."""
    return table[
        table["pretrain"].isin(["none", "dapt"]) & table["adversary"].isin(["none", "fgm"]) & table["seed"].lt(3)
    ]


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(drawings, "drawn", lambda table: html.Html("<p>figures</p>"))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_verdicts_come_first_then_caveats(page):
    heads = [attributes["id"] for attributes in page.all("h2")]
    assert heads[:4] == ["verdicts-title", "caveats-title", "tables-title", "figures-title"]
    assert heads[-4:] == ["leaks-title", "cost-title", "provenance-title", "configs-title"]


def test_every_verdict_stands_in_the_page(page, table):
    told = " ".join(page.text)
    result = scores.compared(table)
    assert list(result) == ["clean", "under attack, ε = 0.1"]
    assert all(one.verdict() in told for family in result.values() for one in family)


def test_it_can_be_used_by_all(page):
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert len(page.all("img")) >= 3 and all(len(image["alt"]) > 100 for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(ids)
    assert all(head["scope"] == "col" for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_nothing_is_external(text, page):
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "poster", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))
    assert "default-src 'none'" in page.all("meta")[1]["content"]
    assert "url(" not in text and "@import" not in text and "fetch(" not in text and "://" not in text
    for image in page.all("img"):
        drawing = base64.b64decode(image["src"].partition(",")[2]).decode()
        assert set(re.findall(r'href="(.)', drawing)) <= {"#", "d"}  # a part of itself, or data
        assert set(re.findall(r"url\((.)", drawing)) <= {"#"}


def test_what_a_label_says_is_text(few, undrawn):
    evil = '<script>alert("1")</script>'
    told = few.assign(task=evil, versions=evil, pretrain=few["pretrain"].replace("dapt", "<b>&amp;"))
    result = Page(report.page(told, evil))
    assert len(result.all("script")) == 1 and result.all("b") == []
    assert evil in result.text and any("<b>&amp;" in piece for piece in result.text)


def test_escaping_by_hand():
    assert html.element("p", 'a < "b"', class_='"x"') == '<p class="&quot;x&quot;">a &lt; &quot;b&quot;</p>'
    assert html.element("p", html.element("b", "&"), None, data_value="1") == '<p data-value="1"><b>&amp;</b></p>'
    with pytest.raises(ValueError, match="'empty' has none"):
        html.table([], "empty")


def test_same_table_same_bytes_whatever_the_order_of_rows(few, undrawn):
    shuffled = few.sample(frac=1, random_state=1)
    assert report.page(shuffled, "synthetic") == report.page(few, "synthetic")


def test_a_figure_is_drawn_to_the_same_bytes(table, page, monkeypatch, tmp_path):
    names = ("clean_vs_robust", "loss_matrix")  # of which the study carries the first
    for name in names:
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(drawings.figures, "__file__", str(tmp_path / "__init__.py"))
    result = Page(drawings.drawn(table))
    (image,) = result.all("img")
    assert image in page.all("img") and "clean accuracy" in image["alt"] and "DAPT+TAPT" in image["alt"]
    told = " ".join(result.text)
    assert "Not drawn: 1" in told and "loss matrix: no rows of split domains/" in told
    assert "means over 6 seeds" in told and "$" not in told and "\\" not in told


@pytest.mark.parametrize(
    "part",
    [
        lambda t: t[t["seed"] == 0],
        lambda t: t[(t["seed"] == 0) & (t["pretrain"] == "none") & (t["adversary"] == "none")],
        lambda t: t[~((t["pretrain"] == "dapt") & (t["seed"] > 1))],
        lambda t: t[(t["attack"] == "none") & (t["split"] == "test")],
    ],
    ids=["one seed", "one cell", "gaps", "scores alone"],
)
def test_a_part_of_a_study_has_a_report(few, part, undrawn):
    result = Page(report.page(part(few), "part"))
    assert "nan" not in re.findall(r"\w+", " ".join(result.text).lower())


def test_a_note_is_a_caveat(few, undrawn):
    told = Page(report.page(few.assign(dirty=True), "synthetic")).text
    assert any("come from a dirty tree" in piece for piece in told)


def test_of_a_tuned_study_the_costs_are_of_all_trials(few, undrawn):
    rate = "finetune.optimizer.learning_rate"
    own = few[~cells.is_baseline_model(few)]
    worse = own.assign(run_id="slow " + own["run_id"], value=own["value"] - (own["split"] == "dev") * 0.1)
    both = pd.concat([own.assign(**{rate: 0.001}), worse.assign(**{rate: 0.01})], ignore_index=True)
    told = " ".join(Page(report.page(both, "tuned")).text)
    assert "12 runs (chosen on dev among 24) in 4 cells over 3 seeds" in told and "All 24 runs" in told
    spent = both.loc[(both["split"] == "train") & (both["metric"] == "train_seconds"), "value"].sum() / 3600
    assert f"fine-tuning {spent:.2f} h" in told


def test_the_summary_counts(make_study):
    family = scores.compared(make_study(shared_adaptation=False))["clean"]
    said = verdicts.in_short("clean", family)
    passed, shown = (sum(p <= 0.05 for p in ps) for ps in ([c.p_holm for c in family], [c.p for c in family]))
    assert len(family) == 11 and passed == 0 and 0 < shown < 11
    assert said == (
        f"macro-F1, clean: none of 11 comparisons passes Holm's correction at 0.05; {shown} would be shown if taken "
        f"alone; {11 - shown} not shown; 6 pairs of seeds cannot pass over so many."
    )


def test_the_summary_counts_what_has_no_test_of_the_method(table):
    family = scores.compared(table)["clean"]  # one adaptation of each chain serves all seeds
    said = verdicts.in_short("clean", family)
    assert "; 2 not shown; 9 without a test of the method; 6 pairs of seeds cannot pass over so many." in said
    page = str(verdicts.verdicts({"clean": family}))
    assert "too few to test the method: 9" in page and "a claim about these adapted models only" in page


def test_leaks_by_hand(table):
    assert leaks.leaks(table) == html.element("p", leaks.NONE)
    assert tuple(leaks.LEVELS) == tuple(overlap.LEVELS)
    rows = table[(table["split"] == "test") & (table["metric"] == "accuracy")]
    told = leaks.leaks(rows.assign(split="leaks/test", metric="leaked_contained", value=15.0, n=600))
    assert 'data-value="15.0">15<' in told and ">2.5%<" in told and f">{rows['run_id'].nunique()}<" in told
    assert "scores on the rest of test" in told


def test_a_stage_that_runs_share_costs_once(table):
    rows = table[(table["metric"] == "train_seconds") & (table["split"] == "dapt")]
    shared = pd.concat([table, rows.assign(split="dapt/train", value=3600.0)])
    own = pd.concat([table, rows.assign(split="dapt/train", value=3600.0 + rows["seed"])])
    assert "pretraining (each stage once) 1.00 h" in costs.costs(shared)
    assert "pretraining (each stage once) 6.00 h" in costs.costs(own)


def test_markdown_by_hand():
    told = pages.of_markdown("Some\nwords.\n\n## T\n\n| a | b |\n| --- | ---: |\n| x | 1,200 |\n| y | |\n")
    assert told.startswith("<p>Some words.</p><div") and "<caption>T</caption>" in told
    assert '<td class="number" data-value="1200.0">1,200</td>' in told and '<td class="number"></td>' in told
    assert "number" not in pages.of_markdown("| a |\n| ---: |\n| 1 to 2 |")


def test_headings_are_short_where_they_can_be():
    assert scores.headings(["pretrain", "finetune.optimizer.learning_rate"]) == {
        "pretrain": "pretrain",
        "finetune.optimizer.learning_rate": "learning rate",
    }
    assert scores.headings(["a.rate", "b.rate"]) == {"a.rate": "a.rate", "b.rate": "b.rate"}


def test_a_number_that_is_missing_is_empty():
    assert html.number(math.nan, ".3f").text == "" and html.number(None, ".3f").text == ""
    assert html.number(0.0, ".1f") == html.Number("0.0", 0.0)


def test_from_runs_under_a_root(table, undrawn, write_study, tmp_path, capsys):
    few = table[table["seed"].lt(2) & table["pretrain"].eq("none") & ~cells.is_baseline_model(table)]
    write_study(tmp_path, few)
    assert main(["synthetic", "--root", str(tmp_path)]) == 0
    written = tmp_path / "reports" / "synthetic.html"
    assert capsys.readouterr().out == f"{written}\n"
    assert Page(written.read_text("utf-8")).all("title")
    with pytest.raises(SystemExit):
        main(["nothing", "--root", str(tmp_path)])
    assert "studies with runs: ['synthetic']" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["nothing", "--experiments", str(tmp_path)])
    assert "studies with rows: []" in capsys.readouterr().err
