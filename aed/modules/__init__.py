"""LightningModules, augmentation, schedules and published weights."""

from aed.modules.augment import AugmentConfig
from aed.modules.classifier import ClipClassifier

__all__ = ["AugmentConfig", "ClipClassifier"]
