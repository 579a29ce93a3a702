"""What a person can mend is said in one sentence, and before the work whose result would be lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main


@pytest.mark.parametrize(
    ("arguments", "config", "said"),
    [
        (["evaluate", "--events", "one.csv", "--json", "nowhere/x.json"], "", "--json nowhere/x.json: expected a file that can be written"),
        (["evaluate", "--events", "one.csv", "--compare-json", "."], "", "--compare-json .: expected a file that can be written"),
        (
            ["evaluate", "--events", "one.csv", "--report", "page"],
            "events: {types: {view: {weight: 0}, click: {}}}",
            "one.csv: expected an event whose type has a weight above 0",
        ),
        (["evaluate", "--events", "one.csv"], "text: {encoder: nothere}", "text.encoder"),
        (["evaluate", "--events", "one.csv"], "slate: {k: abc}", "slate.k: expected int, got 'abc'"),
        (["evaluate", "--events", "one.csv"], "learner: {seed: 99999999999999999999}", "learner.seed: expected int <= 9223372036854775807"),
        (["serve", "--bootstrap-servers", "localhost:1"], "kafka: foo", "kafka: expected object, got 'foo'"),
        (["serve", "--port", "0"], "serving: 5", "serving: expected object, got 5"),
        (["serve", "--store", "one.csv"], "", "--store one.csv: cannot be made: File exists"),
        (["serve"], "kafka: {client_properties: {no_such: 1}}", 'client_properties: No such configuration property: "no.such"'),
    ],
)
def test_no_traceback(
    arguments: list[str],
    config: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))
    (tmp_path / "one.csv").write_text("user_id,item_id,timestamp\nu,a,1\n")
    (tmp_path / "config.yaml").write_text(config)
    monkeypatch.setattr("sys.argv", ["flinkrec", *arguments, "--config", "config.yaml"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" not in printed
    sentence = printed.splitlines()[-1]
    assert sentence.startswith("flinkrec: ")
    assert said in sentence
