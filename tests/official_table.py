"""The official byte table as scripts fill it: a part of the scripts that tests have audited, or have run."""

# Behind it: base (bytes of each token), lead (begins with a space), edge (nothing stands before it).
FILLED = """\
    for i in range(sp.vocab_size()):
        if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i):
            continue
        edge[i] = False
        if sp.is_byte(i):
            base[i] = 1
            continue
        piece = sp.id_to_piece(i)
        if piece.startswith("\\u2581"):
            lead[i] = True
            piece = piece[1:]
        base[i] = len(piece.encode("utf-8"))
"""
