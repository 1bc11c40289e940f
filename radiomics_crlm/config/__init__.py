"""Typed, strict configuration: an unknown key is an error, and every value is checked before any work starts."""

from radiomics_crlm.config.answer import CONTROL_SETS, AcceptanceConfig, AnswerConfig
from radiomics_crlm.config.base import Moment, Slug, Strict, load_config, parse_config
from radiomics_crlm.config.cohort import CohortNotes, FolderSource, SimulatedSource, TciaClinicalSource
from radiomics_crlm.config.design import DesignConfig, SampleSizeConfig
from radiomics_crlm.config.documents import read_yaml
from radiomics_crlm.config.endpoints import EndpointConfig, load_endpoints
from radiomics_crlm.config.experiment import ExperimentConfig
from radiomics_crlm.config.feature_sets import FeatureSetConfig, RadiomicsSelection, RobustnessSelection
from radiomics_crlm.config.learning import (
    HarmonisationConfig,
    LearnerName,
    OperatingConfig,
    RangeConfig,
    SelectionConfig,
    SelectionName,
    ThresholdConfig,
    TuningConfig,
)

__all__ = [
    "CONTROL_SETS",
    "AcceptanceConfig",
    "AnswerConfig",
    "CohortNotes",
    "DesignConfig",
    "EndpointConfig",
    "ExperimentConfig",
    "FeatureSetConfig",
    "FolderSource",
    "HarmonisationConfig",
    "LearnerName",
    "Moment",
    "OperatingConfig",
    "RadiomicsSelection",
    "RangeConfig",
    "RobustnessSelection",
    "SampleSizeConfig",
    "SelectionConfig",
    "SelectionName",
    "SimulatedSource",
    "Slug",
    "Strict",
    "TciaClinicalSource",
    "ThresholdConfig",
    "TuningConfig",
    "load_config",
    "load_endpoints",
    "parse_config",
    "read_yaml",
]
