"""The commands: bpb-eval, bpb-audit, bpb-bytes."""
