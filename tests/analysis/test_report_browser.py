"""The report as a reader uses it: nothing is fetched, nothing fails, tables sort and filter, a phone can show it."""

from __future__ import annotations

import json

import pytest
from browser import installed, opened

from analysis import report
from analysis.report import drawings


@pytest.fixture(scope="module")
def browser(table, tmp_path_factory):
    installed()
    folder = tmp_path_factory.mktemp("report")
    (folder / "figures").mkdir()
    (folder / "figures" / "clean_vs_robust.py").touch()  # one figure is enough
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings.figures, "__file__", str(folder / "figures" / "__init__.py"))
        (folder / "report.html").write_text(report.page(table, "synthetic"), encoding="utf-8")
    with opened(folder / "report.html", folder / "profile") as page:
        yield page


def table_of(browser, caption):
    return next(t for t in browser.find_elements("tag name", "table") if caption in t.text)


def column(table, name):
    heads = [head.text.split(" ")[0] for head in table.find_elements("css selector", "thead th")]
    rows = table.find_elements("css selector", "tbody tr:not([hidden])")
    return [row.find_elements("css selector", "td")[heads.index(name)].text for row in rows]


def head(table, name):
    heads = table.find_elements("css selector", "thead th")
    return next(one for one in heads if one.text.split(" ")[0] == name)


def test_nothing_fails_and_nothing_is_requested(browser):
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = [each["request"]["url"] for each in sent if each["documentURL"] == browser.current_url]
    assert urls[0] == browser.current_url
    assert all(url.startswith("data:image/svg+xml;base64,") for url in urls[1:])
    drawn = "return Promise.all(Array.from(document.images, (i) => i.decode().then(() => i.naturalWidth)))"
    (width,) = browser.execute_script(drawn)
    assert width > 200


def test_a_column_sorts_in_both_directions_as_numbers(browser):
    table = table_of(browser, "Paired differences")
    before = [float(text) for text in column(table, "difference")]
    assert len(before) == 22 and before != sorted(before)
    button = head(table, "difference").find_element("tag name", "button")
    button.send_keys("\n")  # by keyboard
    assert head(table, "difference").get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(table, "difference")] == sorted(before)
    button.click()
    assert head(table, "difference").get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(table, "difference")] == sorted(before, reverse=True)
    head(table, "pretrain").find_element("tag name", "button").click()
    assert head(table, "difference").get_attribute("aria-sort") is None
    words = column(table, "pretrain")
    assert words == sorted(words, key=str.lower)


def test_missing_numbers_come_last_in_both_directions(browser):
    table = table_of(browser, "Scores on test")
    for _ in range(2):  # TF-IDF is not attacked
        head(table, "robust@0.1").find_element("tag name", "button").click()
        robust = column(table, "robust@0.1")
        assert robust[-1] == "" and "" not in robust[:-1]


def test_a_filter_filters(browser):
    table = table_of(browser, "Paired differences")
    controls = table.find_element("xpath", "./../preceding-sibling::div[1]")
    search = controls.find_element("tag name", "input")
    search.send_keys("fgm")
    assert set(column(table, "adversary")) == {"FGM"}
    chains = controls.find_element("xpath", ".//label[starts-with(., 'pretrain')]/select")
    chains.find_element("xpath", "option[.='DAPT']").click()
    assert column(table, "pretrain") == ["DAPT", "DAPT"]  # clean, and under attack
    assert controls.find_element("tag name", "output").text == "2 of 22 rows"
    search.clear()
    chains.find_element("xpath", "option[.='all']").click()
    assert len(column(table, "pretrain")) == 22


def test_a_phone_scrolls_tables_not_the_page(browser):
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    width, page = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert (width, page) == (390, 390)


def test_print_unfolds_and_folds_again(browser):
    opened_now = "return document.querySelectorAll('details[open]').length"
    before = browser.execute_script(opened_now)
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(opened_now) == browser.execute_script(
        "return document.querySelectorAll('details').length"
    )
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script(opened_now) == before
