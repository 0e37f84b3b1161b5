"""What another torch lays out in a way that is not read is not written either."""

from __future__ import annotations

import io
import zipfile

import pytest

from bpb_harness.adapters import exported
from bpb_harness.adapters.exported.archive import MODEL, require_known_layout
from bpb_harness.errors import CheckpointError, UsageError
from tests.oracles import OracleDenoiser, Uniform


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return buffer.getvalue()


def test_a_program_below_the_folder_of_the_archive_is_known():
    require_known_layout(packed(f"x/{MODEL}", "x/archive_version"))


def test_an_older_layout_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(exported, "_export", lambda model: packed("serialized_exported_program.json", "version"))
    with pytest.raises(CheckpointError) as caught:
        exported.export_model(OracleDenoiser(Uniform(3)), tmp_path / "x.pt2", schedule="loglinear")
    assert str(caught.value).endswith(
        "lays out exported programs in a way that is not read: got no models/model.json; "
        "export with a newer torch; this one can score what that writes"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ['{"format": "bpb-harness/3", "bpb": 1.2}', "[1, 2]", '{"lr": 0.1}', "not JSON"])
def test_a_json_file_of_another_kind_is_left_as_it_is(monkeypatch, tmp_path, text):
    monkeypatch.setattr(exported, "_export", lambda model: pytest.fail("exported before it was refused"))
    beside = tmp_path / "x.json"
    beside.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json would be written over.*move it away, or export under another name"):
        exported.export_model(OracleDenoiser(Uniform(3)), tmp_path / "x.pt2", schedule="loglinear")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert beside.read_text() == text


def test_an_earlier_export_of_that_name_is_written_over(monkeypatch, tmp_path):
    monkeypatch.setattr(exported, "_export", lambda model: packed(f"x/{MODEL}", "x/archive_version"))
    for schedule in ("loglinear", "cosine-mdlm"):
        exported.export_model(OracleDenoiser(Uniform(3)), tmp_path / "x.pt2", schedule=schedule)
    assert '"schedule": "cosine-mdlm"' in (tmp_path / "x.json").read_text()
