"""Standard errors, intervals and paired gaps of sampled bounds. No torch here: an audit imports it too."""
