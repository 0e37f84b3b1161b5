"""Where the masks come from: random streams, designs over a corpus, and what is known of a window without a network."""
