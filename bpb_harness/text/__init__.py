"""Reading texts as people keep them; docs/texts.md lists what is read, and what is refused by name.

files.py        which files paths, folders and patterns stand for; only regular files, each once
signs.py        what a file is, by its first bytes
shards.py       token shards of several trainers, memory-mapped
compressed.py   the bytes inside gzip, bzip2 and zstd, without giving a bomb its memory
tables.py       documents in Parquet and Arrow
json_lines.py   documents in JSON lines, and whether a text is JSON
documents.py    documents of any of these
fields.py       the keys or columns whose texts are read
answers.py      prompts and answers: where in the tokens each answer lies
corpus.py       one stream of tokens of all this; which flags go together
spans.py        what of it is paid for: windows, strides, blocks; answer_spans.py: answers
separators.py   the token between documents: which one the tokenizer's files name, and which one a stream has
"""
