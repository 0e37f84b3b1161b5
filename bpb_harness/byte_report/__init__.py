"""What ``bpb-bytes`` says of a tokenizer and a text.

report.py             every rule, and where the rules part
against_documents.py  shards held against the documents that they should hold
byte_bugs.py          known byte bugs, as functions of a tokenizer
"""
