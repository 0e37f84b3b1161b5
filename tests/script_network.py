"""The smallest masked network of a script, as scripts have one: a row of logits for each token alone."""

from __future__ import annotations

NETWORK = """\
V = 512
MASK = 512
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V + 1, 16)
        self.out = nn.Linear(16, V + 1)
    def forward(self, z):
        return self.out(self.emb(z))
"""
