"""Every tensor and every setting of a checkpoint is accounted for, or refused by name."""
