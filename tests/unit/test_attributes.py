"""Source attributes: every element of the CHAI card is asked for, and every section that is named exists."""

from __future__ import annotations

from radiomics_crlm.report.attributes import load_attributes
from radiomics_crlm.report.contents import SECTIONS

# Elements of the CHAI Applied Model Card, schema v0.1 (the parts of a key metric are asked for once).
_ELEMENTS = """
ModelName ModelDeveloper DeveloperContact ReleaseStage ReleaseDate ReleaseVersion GlobalAvailability RegulatoryApproval
Summary Keywords IntendedUseAndWorkflow PrimaryIntendedUsers HowToUse TargetedPatientPopulation
CautionedOutOfScopeSettings KnownRisksAndLimitations KnownBiasesOrEthicalConsiderations ClinicalRiskLevel
OutcomesAndOutputs ModelType FoundationModels InputDataSource OutputAndInputDataTypes DevelopmentDataCharacterization
BiasMitigationApproaches OngoingMaintenance Security Transparency FundingSource ThirdPartyInformation
StakeholdersConsulted UsefulnessUsabilityEfficacy FairnessEquity SafetyReliability TestingDataDescription
ValidationProcessAndJustification EvaluationReferences ClinicalTrial PeerReviewedPublications ReimbursementStatus
PatientConsentOrDisclosure Bibliography
"""
CHAI = _ELEMENTS.split()


def test_every_element_of_the_chai_card_is_asked_for() -> None:
    asked = {e for c in load_attributes() for a in c.attributes for e in a.chai.split(", ")}
    assert asked == set(CHAI)


def test_source_attributes_stand_in_nine_categories() -> None:
    of_law = [c for c in load_attributes() if c.source == "hti"]
    assert len(of_law) == 9
    assert sum(len(c.attributes) for c in of_law) == 31
    titles = [a.title for c in load_attributes() for a in c.attributes]
    assert len(titles) == len(set(titles)) == 51


def test_sections_that_are_named_exist_and_come_before() -> None:
    order = [s.ident for s in SECTIONS]
    named = {n for c in load_attributes() for a in c.attributes for n in a.sections}
    assert named <= set(order[: order.index("attributes")])
    assert all(a.sections for c in load_attributes() for a in c.attributes if a.left)
