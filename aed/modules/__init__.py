"""LightningModule, augmentation, schedules, published weights; ``nets`` need neither Lightning nor Hydra."""
