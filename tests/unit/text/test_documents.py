"""Documents in every container are the same documents, or are refused by name; JSON is never scored as text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.errors import CorpusError, HarnessError, UsageError
from bpb_harness.text import compressed, tables
from bpb_harness.text.corpus import iterate_documents, load_documents

TEXTS = ["the cat", "", "caf\u00e9 \U0001f600\n\u2028next", ' {"text": "inner"} ', "the cat"] * 3
LINES = "".join(json.dumps({"id": 3, "text": text}, ensure_ascii=False) + "\n" for text in TEXTS)
TABLE = pa.table({"id": list(range(len(TEXTS))), "text": TEXTS})


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def read(path, **options):
    return list(iterate_documents([path], **options))


def refusal(path, kind=CorpusError, **options):
    with pytest.raises(HarnessError) as error:
        read(path, **options)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json", "a.Json", "a", "a.dat", "c4.00001"])
@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd), ("", zstd)]
)
def test_json_lines_under_any_name(tmp_path, name, suffix, pack):
    path = write(tmp_path / (name + suffix), pack(LINES.encode()))
    assert read(path) == TEXTS
    assert read(write(path, pack(b"\n" + LINES.replace("\n", "\r\n\r\n").encode()))) == TEXTS


def test_members_that_follow_each_other_are_one_text(tmp_path):
    half = LINES.index("\n") + 1
    for pack in (gzip.compress, bz2.compress, zstd):
        path = write(tmp_path / "a.jsonl", pack(LINES[:half].encode()) + pack(LINES[half:].encode()))
        assert read(path) == TEXTS


def as_parquet(path, table=TABLE, **options):
    parquet.write_table(table, path, **options)
    return path


def as_arrow(path, table=TABLE, new=ipc.new_stream, batch=4, **options):
    with new(str(path), table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def test_tables(tmp_path):
    for n, options in enumerate([{}, {"row_group_size": 2}, {"compression": "zstd"}, {"use_dictionary": False}]):
        assert read(as_parquet(tmp_path / f"{n}.parquet", **options)) == TEXTS
    assert read(as_parquet(tmp_path / "named otherwise")) == TEXTS
    large = TABLE.set_column(1, "text", TABLE["text"].cast(pa.large_string()))
    coded = TABLE.set_column(1, "text", TABLE["text"].dictionary_encode())
    for n, table in enumerate([TABLE, large, coded]):
        assert read(as_arrow(tmp_path / f"{n}.arrow", table)) == TEXTS
        assert read(as_arrow(tmp_path / f"{n}.feather", table, ipc.new_file)) == TEXTS
        assert read(as_parquet(tmp_path / f"t{n}.parquet", table)) == TEXTS
    packed = ipc.IpcWriteOptions(compression="zstd")
    assert read(as_arrow(tmp_path / "z.arrow", new=ipc.new_file, options=packed)) == TEXTS


def test_documents_of_any_container_are_the_same_corpus(tmp_path):
    tokenizer = load_tokenizer(json.dumps(["<s>", *sorted(set("".join(TEXTS)))]).encode())
    plain = load_documents([write(tmp_path / "a.jsonl", LINES)], tokenizer)
    assert plain.form == "JSON lines"
    for path, form in [
        (write(tmp_path / "val.jsonl.gz", gzip.compress(LINES.encode())), "gzip-compressed JSON lines"),
        (as_parquet(tmp_path / "val.parquet"), "Parquet"),
        (as_arrow(tmp_path / "val.arrow"), "an Arrow stream"),
    ]:
        corpus = load_documents([path], tokenizer)
        assert (corpus.digest, corpus.name, corpus.form) == (plain.digest, "val", form)
        assert corpus.raw_bytes_per_document.tolist() == plain.raw_bytes_per_document.tolist()


def test_another_key(tmp_path):
    table = TABLE.rename_columns(["id", "content"])
    lines = write(tmp_path / "a.jsonl.gz", gzip.compress(LINES.replace('"text":', '"content":').encode()))
    for path, seen in [
        (lines, "got the keys 'id', 'content', expected 'text'"),
        (as_parquet(tmp_path / "a.parquet", table), "got the columns 'id', 'content', expected 'text'"),
        (as_arrow(tmp_path / "a.arrow", table), "got the columns 'id', 'content', expected 'text'"),
    ]:
        assert seen + "; pass --text-field content" in refusal(path)
        assert len(read(path, text_field="content")) == len(TEXTS)
    both = write(tmp_path / "b.jsonl", '{"title": "a", "body": "b"}\n')
    assert "the keys 'title', 'body', expected 'text'; pass --text-field title or --text-field body" in refusal(both)
    assert "which is plain text" in refusal(write(tmp_path / "a.txt", "the cat"), UsageError, text_field="body")
    assert "line 1 has no text: got int under 'id'" in refusal(write(tmp_path / "c.jsonl", LINES), text_field="id")
    held = write(tmp_path / "e.jsonl", '{"text": 1, "body": "b"}\n')
    assert 'got int under \'text\', expected {"text": "..."}; pass --text-field body' in refusal(held)
    nothing = "; nothing else there is a text: name a file that holds one"
    for record, asked in [({"n": 1}, None), ({"n": 1}, "n"), ({"text": 1}, "body"), ({"text": 1}, None)]:
        none = write(tmp_path / "f.jsonl", json.dumps(record))
        assert refusal(none, **({"text_field": asked} if asked else {})).endswith(nothing)
    several = write(tmp_path / "g.jsonl", json.dumps({f"k{n}": "a" for n in range(4)}))
    assert refusal(several).endswith("; pass --text-field NAME")
    many = write(tmp_path / "d.jsonl", json.dumps({f"k{n}": n for n in range(30)}))
    assert "'k7' and 22 more" in refusal(many)


def test_rows_without_text_are_named(tmp_path):
    hole = TABLE.set_column(1, "text", pa.array([*TEXTS[:5], None, *TEXTS[6:]], pa.string()))
    for path in (as_parquet(tmp_path / "a.parquet", hole), as_arrow(tmp_path / "a.arrow", hole)):
        assert "row 5 (from 0) has no text: got null under 'text'" in refusal(path)
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": null}\n')
    assert "line 2 has no text: got null under 'text'" in refusal(path)
    for kind in (pa.binary(), pa.list_(pa.string()), pa.int64(), pa.null()):
        table = pa.table({"text": pa.array([None], kind), "title": ["x"]})
        for path in (as_parquet(tmp_path / "b.parquet", table), as_arrow(tmp_path / "b.arrow", table)):
            assert "the column 'text' holds no text" in refusal(path)
    with ipc.new_stream(str(tmp_path / "c.arrow"), pa.schema([("text", pa.string()), ("text", pa.string())])) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]))
    assert "2 columns of that name" in refusal(tmp_path / "c.arrow")


PRETTY = json.dumps([{"text": text} for text in TEXTS], indent=2)


@pytest.mark.parametrize(
    ("content", "next_step"),
    [
        (PRETTY, "it is a JSON array over several lines: jq -c '.[]' a.json > docs.jsonl"),
        (json.dumps(json.loads(PRETTY)), "write one object a line: jq -c '.[]' a.json > docs.jsonl"),
        (
            json.dumps({"data": json.loads(PRETTY)}, indent=1),
            "one JSON object over several lines: jq -c '.[\"data\"][]'",
        ),
        (json.dumps({"data": json.loads(PRETTY)}), "write one object a line: jq -c '.[\"data\"][]' a.json"),
        (json.dumps({"text": "the cat"}, indent=1), "one JSON object over several lines: jq -c '.' a.json"),
        ("the cat sat", "line 1 is not JSON"),
        (LINES + LINES[: len(LINES) // 2], "is not JSON"),
        (LINES.replace("\n", ""), "line 1 is not JSON"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_json_that_is_no_json_lines(tmp_path, content, next_step, pack):
    assert next_step in refusal(write(tmp_path / "a.json", pack(content.encode())))


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (LINES, "got JSON lines, expected"),
        ("\ufeff\n" + LINES, "got JSON lines, expected"),
        (LINES + '{"text": "cut o', "got JSON objects one after the other"),
        ("# made by hand\n" + LINES, "got JSON lines, but for 1 of 16 lines"),
        (LINES.replace('"text"', '"body"'), "got JSON lines"),
        ('{"body": "the cat"}', "got one JSON object with the key 'body'"),
        (PRETTY, "got a JSON array of 15 values"),
        (json.dumps({"data": TEXTS}, indent=1), "got one JSON object with the key 'data'"),
        ('["the cat", "the rat"]', "got a JSON array of 2 values"),
        ('"the cat"\n\n"the rat"\n', "got JSON lines, expected"),
        ('["the cat", 1]\n["the rat", 2]\n', "got JSON lines, expected"),
        ('{"text": "the cat", "id', "the beginning of a JSON object with the key 'text'"),
        (LINES.replace("\n", ""), "got JSON objects one after the other"),
        ("\n".join(json.dumps({"body": text}, indent=2) for text in TEXTS), "got JSON objects one after the other"),
        (
            "\n".join(json.dumps({"body": text}, indent=2) for text in TEXTS)[:-4],
            "got JSON objects one after the other",
        ),
    ],
)
def test_json_under_the_name_of_plain_text(tmp_path, content, seen):
    for path in (tmp_path / "a.txt", tmp_path / "a.TXT", tmp_path / "a.txt.gz"):
        pack = gzip.compress if path.suffix == ".gz" else bytes
        assert seen in refusal(write(path, pack(content.encode())))
    if not content.startswith(("{", "\ufeff")):
        assert seen in refusal(write(tmp_path / "a.md", content))


def test_json_lines_without_a_name_end_where_they_are_broken(tmp_path):
    path = write(tmp_path / "a.log", '{"text": "a"}\nplain\n')
    assert "line 2 is not JSON" in refusal(path)
    assert refusal(path).endswith("name it .jsonl if it holds JSON lines, and .txt if it is plain text")


@pytest.mark.parametrize(
    "content",
    [
        "{this is a brace} and prose",
        "{\n  int main() { return 0; }\n}\n",
        "[Chapter 1]\n\nThe cat sat.\n",
        "[1]",
        "[]",
        "{}",
        '{{ template }}\n{% if x %}{"a": 1}{% endif %}\n',
        '"quoted"',
        '"All of it," she said,\n"is quoted."',
        "[1]\n[2]\n",
        "42",
        "null",
        'Call it with\n{"text": "a"}\nand it answers\n{"ok": true}\nat once.\n',
        "\\begin{text} BZh9 PAR1 ORC PK \u2028 caf\u00e9",
        '{"text": "a"} is what {"text": "b"} is not',
        "BZh9 is how it starts",
        "PAR1 too",
        "name,text and more\nof it\n",
        "text",
        "text,more\nwords in a line\n",
        "the\ufeff cat",
        "",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a"])
def test_plain_text_may_begin_with_anything_that_is_no_json(tmp_path, name, content):
    assert read(write(tmp_path / name, content)) == [content]
    assert read(write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))) == [content]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a"])
def test_a_mark_of_byte_order_before_plain_text_is_no_text(tmp_path, name):
    for content, text in (("\ufeffthe cat", "the cat"), ("\ufeff\ufeffthe cat", "\ufeffthe cat"), ("\ufeff", "")):
        assert read(write(tmp_path / name, content)) == [text]
        assert read(write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))) == [text]
    assert read(write(tmp_path / "a.jsonl", '\ufeff{"text": "\ufeffthe cat"}')) == ["\ufeffthe cat"]


def packed_in(kind) -> bytes:
    sink = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("a.jsonl", LINES)
    else:
        with tarfile.open(fileobj=sink, mode="w" if kind == "tar" else "w:gz") as archive:
            member = tarfile.TarInfo("a.jsonl")
            member.size = len(LINES.encode())
            archive.addfile(member, io.BytesIO(LINES.encode()))
    return sink.getvalue()


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "a"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed_in("zip"), "got a zip archive, expected JSON lines, plain text, Parquet or Arrow; unpack it"),
        (packed_in("tar"), "got a tar archive"),
        (packed_in("tar.gz"), "got gzip-compressed a tar archive"),
        (lzma.compress(LINES.encode()), "compressed with xz: expected plain, or gzip, bzip2, zstd; unpack it: xz -dc"),
        (gzip.compress(gzip.compress(LINES.encode(), mtime=0), mtime=0), "got gzip-compressed gzip"),
        (LINES.encode("utf-16"), "got text in UTF-16"),
        (LINES.encode("utf-32"), "got text in UTF-32"),
        (b"\xff\xfe" + LINES.encode("utf-16-be"), "iconv -f UTF-16 -t UTF-8"),
        (b"\x93NUMPY\x01\x00" + bytes(200), "got a NumPy array"),
        (b"%PDF-1.7\n", "got PDF"),
        (b"\x80\x04\x95\x02\x00", "got a pickle"),
        (b"SQLite format 3\x00", "got an SQLite database"),
    ],
)
def test_what_is_not_read_is_named_under_any_name(tmp_path, name, content, words):
    assert words in refusal(write(tmp_path / name, content))


def test_binary_data_is_no_text(tmp_path):
    text = refusal(write(tmp_path / "a.txt", "the cat".encode("utf-16-le")))
    assert "binary data: got a NUL at byte 1" in text
    assert "pass it with --data" in refusal(write(tmp_path / "a.txt", b"\x88\xd8\x34\x01" + bytes(1100)))
    assert "invalid UTF-8 at byte 4: got 0xE9" in refusal(write(tmp_path / "a.txt", "the \u00e9".encode("latin-1")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text\nthe cat\n"),
        ("a.TSV", "text\nthe cat\n"),
        ("a.csv.gz", gzip.compress(b"text\nthe cat\n", mtime=0)),
        ("a.txt", "id,text\n1,the cat\n"),
        ("a", '"text"\t"label"\nthe cat\t1\n'),
    ],
)
def test_tables_of_text(tmp_path, name, content):
    assert "V table, expected" in refusal(write(tmp_path / name, content))


def test_a_name_that_promises_a_table(tmp_path):
    for name in ("a.parquet", "a.arrow", "a.feather"):
        assert "its content is not what its name says" in refusal(write(tmp_path / name, "the cat"))
    assert "got gzip-compressed Parquet" in refusal(
        write(tmp_path / "a.parquet.gz", gzip.compress(as_parquet(tmp_path / "a.parquet").read_bytes()))
    )


def damaged(content: bytes):
    yield content[: len(content) // 2]
    yield content[:-4]
    yield content[:-1]


def test_damaged_containers(tmp_path):
    for pack in (gzip.compress, bz2.compress, zstd):
        for content in damaged(pack(LINES.encode() * 50)):
            assert "that cannot be unpacked" in refusal(write(tmp_path / "a.jsonl", content))
    for content in damaged(as_parquet(tmp_path / "a.parquet").read_bytes()):
        assert "a table that cannot be read" in refusal(write(tmp_path / "a.parquet", content))
    content = as_arrow(tmp_path / "a.arrow").read_bytes()
    for cut in (len(content) // 2, len(content) - 200):
        assert "a table that cannot be read" in refusal(write(tmp_path / "a.arrow", content[:cut]))
    texts = as_arrow(tmp_path / "a.arrow", pa.table({"text": ["abcdefgh"]})).read_bytes()
    assert "a table that cannot be read" in refusal(
        write(tmp_path / "a.arrow", texts.replace(b"abcdefgh", b"\xff" * 8))
    )


@pytest.mark.parametrize("offsets", [[0, 1 << 20, 3], [0, 4, 3]])
def test_offsets_that_point_elsewhere(tmp_path, offsets):
    buffers = [None, pa.array(offsets, pa.int32()).buffers()[1], pa.py_buffer(b"abc")]
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)
    batch = pa.RecordBatch.from_arrays([texts], ["text"])
    with ipc.new_stream(str(tmp_path / "a.arrow"), batch.schema) as writer:
        try:
            writer.write_batch(batch)
        except pa.ArrowException:
            pytest.skip("this version of the library does not write such a file")
    assert "a table that cannot be read" in refusal(tmp_path / "a.arrow")


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "SWELLING_FROM", 2**20)
    monkeypatch.setattr(compressed, "MAX_SWELLING", 200)
    monkeypatch.setattr("bpb_harness.text.corpus.LARGEST_DOCUMENT_BYTES", 2**19)
    for pack in (gzip.compress, bz2.compress, zstd):
        lines = pack((b" " * 1000 + b"\n") * 4000)
        assert "swells beyond measure" in refusal(write(tmp_path / "a.jsonl", lines))
        one = pack(b" " * 2**21)
        assert "line 1 is longer than 524288 bytes" in refusal(write(tmp_path / "a.jsonl", one))
        assert "too long for one document" in refusal(write(tmp_path / "a.txt", one))
    table = pa.table({"text": ["x" * (2**19 + 1)]})
    for path in (as_parquet(tmp_path / "a.parquet", table), as_arrow(tmp_path / "a.arrow", table)):
        assert "row 0 (from 0) is longer than 524288 bytes" in refusal(path)
    monkeypatch.setattr(tables, "_LARGEST_CHUNK", 2**10)
    assert "row group 0 swells beyond measure" in refusal(tmp_path / "a.parquet")


def save_to_disk(folder, files, **state):
    folder.mkdir(parents=True)
    for name, texts in files.items():
        as_arrow(folder / name, pa.table({"text": texts}))
    record = {"_data_files": [{"filename": name} for name in files], "_split": "validation", **state}
    (folder / "state.json").write_text(json.dumps(record))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_folders_of_the_datasets_library(tmp_path):
    files = {"data-00001-of-00002.arrow": TEXTS[:3], "data-00000-of-00002.arrow": TEXTS[3:]}
    folder = save_to_disk(tmp_path / "val", files)
    as_arrow(folder / "cache-1234.arrow", pa.table({"text": ["not of it"]}))
    assert read(folder) == TEXTS  # in the order that state.json has
    (folder / "data-00001-of-00002.arrow").unlink()
    assert "a part of the data set is missing: got no data-00001-of-00002.arrow, expected 2 files" in refusal(folder)
    shuffled = save_to_disk(tmp_path / "s", files, _indices_data_files=[{"filename": "indices.arrow"}])
    assert "in another order than in its files" in refusal(shuffled)
    for n, names in enumerate([[{"filename": "../val/a.arrow"}], [{"filename": 3}], [], "x", 2 * [{"filename": "a"}]]):
        assert "not written by the datasets library" in refusal(
            save_to_disk(tmp_path / f"b{n}", files, _data_files=names)
        )
    write(save_to_disk(tmp_path / "n", {"a.arrow": TEXTS}) / "a.arrow", "the cat")
    assert "not Arrow" in refusal(tmp_path / "n")


def test_several_splits_are_named(tmp_path):
    for split in ("train", "validation", "test"):
        save_to_disk(tmp_path / "d" / split, {"data-00000-of-00001.arrow": TEXTS})
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    text = refusal(tmp_path / "d")
    assert "got the splits test, train, validation, expected one of them; give" in text
    assert text.endswith("d/test")
    assert read(tmp_path / "d" / "validation") == TEXTS


def test_a_cache_of_the_datasets_library(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{}")
    as_arrow(tmp_path / "c4-validation-00001-of-00002.arrow", pa.table({"text": TEXTS[3:]}))
    assert "a part of the data set is missing: got 1 file, expected 2" in refusal(tmp_path)
    as_arrow(tmp_path / "c4-validation-00000-of-00002.arrow", pa.table({"text": TEXTS[:3]}))
    assert read(tmp_path) == TEXTS
    as_arrow(tmp_path / "c4-train.arrow", pa.table({"text": TEXTS[:3]}))
    assert "several data sets in one folder: got c4-train, c4-validation" in refusal(tmp_path)


def test_a_folder_gives_all_that_it_holds_and_nothing_twice(tmp_path):
    write(tmp_path / "a.JSONL", '{"text": "1"}\n')
    write(tmp_path / "b.json.gz", gzip.compress(b'{"text": "2"}\n'))
    write(tmp_path / "e.ndjson.zst", zstd(b'{"text": "5"}\n'))
    write(tmp_path / "README.md", "no document")
    write(tmp_path / "info.json", "{}")
    assert read(tmp_path) == ["1", "2", "5"]
    write(tmp_path / "a.JSONL.gz", gzip.compress(b'{"text": "1"}\n'))
    assert "the same file, compressed and not" in refusal(tmp_path)
    write(tmp_path / "d.txt", "4")
    with pytest.raises(CorpusError, match="the same file is given twice"):
        list(iterate_documents([tmp_path / "d.txt", tmp_path / "*.txt"]))


@pytest.mark.parametrize(
    ("files", "seen", "pattern"),
    [
        (["README.txt", "a.jsonl", "b.jsonl"], "plain text (README.txt), JSON lines (a.jsonl)", "*.jsonl"),
        (["a.jsonl.gz", "LICENSE.txt"], "plain text (LICENSE.txt), JSON lines (a.jsonl.gz)", "*.txt"),
        (["a.parquet", "a.jsonl"], "JSON lines (a.jsonl), Parquet (a.parquet)", "*.jsonl"),
        (["a.parquet", "b.parquet", "c.arrow"], "Parquet (a.parquet), Arrow (c.arrow)", "*.parquet"),
        (["a.txt", "b.arrow"], "plain text (a.txt), Arrow (b.arrow)", "*.txt"),
    ],
)
def test_a_folder_or_pattern_of_several_kinds(tmp_path, files, seen, pattern):
    for name in files:
        kind = name.partition(".")[2]
        if kind == "parquet":
            as_parquet(tmp_path / name)
        elif kind == "arrow":
            as_arrow(tmp_path / name)
        else:
            write(
                tmp_path / name, gzip.compress(LINES.encode()) if kind == "jsonl.gz" else LINES if "j" in kind else "w"
            )
    for given in (tmp_path, f"{tmp_path}/*"):
        said = refusal(given)
        assert f"{given}: documents of several kinds: got {seen}, expected one kind" in said
        assert f"say which are meant: --docs '{tmp_path}/{pattern}'" in said
    one = sorted(tmp_path.glob(pattern))
    assert read(f"{tmp_path}/{pattern}") == list(iterate_documents(one)), "of one kind, it is read"
    assert len(list(iterate_documents([tmp_path / name for name in files]))) > len(read(one[0])), "said one by one"


def test_only_regular_files(tmp_path):
    for name in ("a.jsonl", "a.txt", "a.parquet", "a"):
        os.mkfifo(tmp_path / name)
        assert "got a pipe, expected a file; write it to a file first" in refusal(tmp_path / name)
    assert "got a device" in refusal("/dev/zero")
    (tmp_path / "inner.jsonl" / "x").mkdir(parents=True)
    with pytest.raises(CorpusError, match="holds no"):
        read(tmp_path / "inner.jsonl")


def test_a_document_written_with_the_token_between_documents(tmp_path):
    tokenizer = load_tokenizer(b'["a", "b", "c"]').set_off_by(2)
    with pytest.raises(CorpusError, match=r"document 1 \(from 0\) is itself written with .*: got 'c'"):
        load_documents([write(tmp_path / "a.jsonl", '{"text": "ab"}\n{"text": "abc"}\n')], tokenizer)


def test_text_in_utf_16_without_its_mark(tmp_path):
    for words in ("\u043f\u0440\u0438\u0432\u0435\u0442", "\u03b1\u03b2\u03b3"):
        for encoding in ("utf-16-le", "utf-16-be"):
            said = refusal(write(tmp_path / "a.txt", words.encode(encoding)))
            assert "no text in UTF-8" in said or "invalid UTF-8" in said
    for text in ("\t\r\n" * 9, "\x1b[31mred\x1b[0m" * 5, "page\x0c" * 5, "bell\x07 and more"):
        assert read(write(tmp_path / "a.txt", text)) == [text]


@pytest.mark.parametrize(("suffix", "named"), [(".txt.gz", "gzip"), (".jsonl.gz", "gzip"), (".txt.zst", "zstd")])
def test_an_empty_file_that_is_called_compressed_is_cut_short(tmp_path, suffix, named):
    """An empty text is one document; a compressed one is never empty."""
    path = write(tmp_path / f"a{suffix}", b"")
    with pytest.raises(
        CorpusError, match=rf"a{suffix}: {named} that cannot be unpacked: got an empty file; it is trunca"
    ):
        list(iterate_documents([path]))
    assert list(iterate_documents([write(tmp_path / "a.txt", b"")])) == [""]
